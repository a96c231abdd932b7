package bureau

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

func sumOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// outcome is how a file ended after its nights.
type outcome struct {
	state  State
	err    error // of the last night
	nights int
	steps  []State
	last   Evidence
	errs   []error // of each night that was not the last
}

// nights delivers f from its recorded state, a night after the other, until it
// is SENT or UNDECIDED or most nights are over. before is called at the begin of each.
func (n *nearSide) nights(t *testing.T, f File, most int, before func(night int)) outcome {
	t.Helper()
	h := newHistory(t, Written)
	o := outcome{state: Written}
	for o.nights = 1; ; o.nights++ {
		if before != nil {
			before(o.nights)
		}
		o.state, o.err = Deliver(t.Context(), n.settings, f, h.state, false, h)
		o.steps, o.last = h.steps, h.last
		if o.state != h.state {
			t.Errorf("%s: it says %s, recorded is %s", f.RemoteName, o.state, h.state)
		}
		if (o.err == nil) != (o.state == Sent) {
			t.Errorf("%s: the state is %s, the error %v", f.RemoteName, o.state, o.err)
		}
		if o.state == Sent || o.state == Undecided || o.nights == most {
			return o
		}
		o.errs = append(o.errs, o.err)
		time.Sleep(24 * time.Hour)
	}
}

// violations are the promises that are broken for f, whatever the server did (docs/delivery.md). taken says that
// the bureau may have moved the file away.
func (n *nearSide) violations(t *testing.T, f File, o outcome, taken bool) []string {
	t.Helper()
	var broken []string
	say := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	n.mu.Lock()
	given := slices.Clone(n.renames[f.RemoteName])
	n.mu.Unlock()
	for _, sum := range given {
		if sum != f.SHA256 {
			say("another content than ours got the final name")
		}
	}
	if len(given) > 1 {
		say("the final name was given %d times", len(given))
	}
	final, temporary := n.onDisk(t, f.RemoteName), n.onDisk(t, f.RemoteName+".part")
	if final != nil && sumOf(final) != f.SHA256 {
		say("under its final name the file is not whole")
	}
	switch {
	case o.state == Sent && len(given) != 1:
		say("SENT, and the final name was given %d times", len(given))
	case o.state == Sent && final == nil && !taken:
		say("SENT, and it is not there")
	case o.state == Sent && (o.last.Seen == "" || o.last.SHA256 != f.SHA256 || o.last.Size != f.Size || o.last.HostKey == ""):
		say("SENT without evidence: %+v", o.last)
	case o.state == Sent && temporary != nil && o.last.Left == "":
		say("SENT, and the temporary file is still there and not named")
	case o.state == Undecided && (!errors.Is(o.err, ErrUndecided) || ClassOf(o.err) != BureauLasting):
		say("UNDECIDED without a reason: %v", o.err)
	}
	for _, err := range append(slices.Clone(o.errs), o.err) {
		var e *Error
		if err != nil && (!errors.As(err, &e) || e.What == "") {
			say("an error without a class or a sentence: %v", err)
		}
	}
	return broken
}

// tally counts the points that a test tried. `make prove` adds up what the tests append to the file that
// REEMBOSS_PROVE names, one JSON object a line; where it names none, a chosen part of the points is enough.
type tally struct {
	What       string `json:"what"`
	Points     int    `json:"points"`
	Violations int    `json:"violations"`
}

func (c *tally) point(t *testing.T, where string, broken []string) {
	t.Helper()
	c.Points++
	if len(broken) == 0 {
		return
	}
	c.Violations++
	t.Errorf("%s: %q", where, broken)
}

func (c *tally) tell(t *testing.T) {
	t.Helper()
	t.Logf("prove: %s=%d violations=%d", c.What, c.Points, c.Violations)
	path := os.Getenv("REEMBOSS_PROVE")
	if path == "" {
		return
	}
	line, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(append(line, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// proving says that every point is to be tried, not a chosen part.
func proving() bool { return os.Getenv("REEMBOSS_PROVE") != "" }

// chosen gives every nth of points, or all of them where the whole is to be proven.
func chosen[P any](points []P, nth int) []P {
	if proving() {
		return points
	}
	var some []P
	for i := 0; i < len(points); i += nth {
		some = append(some, points[i])
	}
	return some
}

package bureau

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
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

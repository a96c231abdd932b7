package bureau

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Killed at each step, before or after it is durable, the next delivery
// brings the file there once.
func TestKilledAtEachStepThenContinued(t *testing.T) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		session, err := Connect(side.settings)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = session.Close() }()
		for _, at := range []State{Intent, Uploaded, Renaming, Sent} {
			for _, kept := range []bool{false, true} {
				t.Run(fmt.Sprintf("at %s, durable %v", at, kept), func(t *testing.T) {
					name := fmt.Sprintf("%s-%v.pgp", at, kept)
					f := outboxFile(t, name, 90_000)
					h := newHistory(t, Written)
					h.dieAt, h.kept = at, kept
					if _, err := session.Deliver(t.Context(), f, Written, false, h); !errors.Is(err, errKilled) || ClassOf(err) != Ours {
						t.Fatalf("it was to be killed: %v", err)
					}
					again := newHistory(t, h.state)
					if state, err := session.Deliver(t.Context(), f, h.state, false, again); state != Sent || err != nil {
						t.Fatal(state, err)
					}
					side.holds(t, name, f)
					side.lacks(t, name+".part")
				})
			}
		}
	})
}

// Killed twice in a row at any two steps ends the same (invariant 6).
func TestInvariant6_KilledTwiceEndsTheSame(t *testing.T) {
	side, _ := startSimulator(t, Faults{})
	session, err := Connect(side.settings)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close() }()
	steps := []State{Intent, Uploaded, Renaming, Sent}
	for i, first := range steps {
		for j, second := range steps {
			for _, kept := range []bool{false, true} {
				name := fmt.Sprintf("f-%d-%d-%v.pgp", i, j, kept)
				f := outboxFile(t, name, 5000)
				state := Written
				for _, at := range []State{first, second, ""} {
					h := newHistory(t, state)
					h.dieAt, h.kept = at, kept
					_, _ = session.Deliver(t.Context(), f, state, false, h)
					state = h.state
				}
				if state != Sent {
					t.Errorf("killed at %s and %s: %s", first, second, state)
				}
				side.holds(t, name, f)
			}
		}
	}
}

// standing is what a restart finds under a name.
type standing int

const (
	nothing standing = iota
	ours             // our bytes
	part             // the first half of them
	foreign          // other bytes of our length
)

func (s standing) put(t *testing.T, side *farSide, name string, f File) {
	t.Helper()
	path := filepath.Join(side.incoming, name)
	_ = os.Remove(path)
	content := readAll(t, f.LocalPath)
	switch s {
	case ours:
		side.put(t, name, content)
	case part:
		side.put(t, name, content[:len(content)/2])
	case foreign:
		side.put(t, name, bytes.Repeat([]byte{1}, len(content)))
	}
}

func (s standing) String() string { return [...]string{"nothing", "ours", "part", "foreign"}[s] }

// Every recorded state meets every state of the two names. What must come out
// is said in words of the protocol, not of the code.
func TestContinuedFromEveryStateWhateverStandsThere(t *testing.T) {
	onEachServer(t, func(t *testing.T, side *farSide) {
		for _, takenAway := range []bool{false, true} {
			for _, readBack := range []bool{false, true} {
				settings := side.settings
				settings.TakenAway, settings.ReadBack, settings.Attempts = takenAway, readBack, 1
				session, err := Connect(settings)
				if err != nil {
					t.Fatal(err)
				}
				for _, from := range []State{Written, Intent, Uploaded, Renaming} {
					for final := nothing; final <= foreign; final++ {
						for temporary := nothing; temporary <= foreign; temporary++ {
							m := meeting{from, final, temporary, takenAway, readBack}
							t.Run(m.String(), func(t *testing.T) { m.test(t, side, session) })
						}
					}
				}
				_ = session.Close()
			}
		}
	})
}

type meeting struct {
	from                State
	final, temporary    standing
	takenAway, readBack bool
}

func (m meeting) String() string {
	return fmt.Sprintf("%s final=%s temporary=%s taken=%v read=%v", m.from, m.final, m.temporary, m.takenAway, m.readBack)
}

// looksOurs: by its size, or by its content where that may be read.
func (m meeting) looksOurs(s standing) bool { return s == ours || s == foreign && !m.readBack }

// expected is SENT, UNDECIDED, or "" for a name that is taken.
func (m meeting) expected() State {
	if m.from != Renaming {
		if m.final != nothing {
			return "" // nothing of ours was renamed: it is not ours
		}
		return Sent // uploaded, again if need be, and renamed
	}
	switch {
	case m.looksOurs(m.final):
		return Sent
	case m.final != nothing:
		return Undecided
	case m.looksOurs(m.temporary):
		return Sent // renamed now
	case m.temporary == nothing && m.takenAway:
		return Sent
	}
	return Undecided
}

func (m meeting) test(t *testing.T, side *farSide, session *Session) {
	// The simulator gives a name once for ever, so each meeting has its own.
	name := fmt.Sprintf("%s-%s-%s-%v-%v.pgp", m.from, m.final, m.temporary, m.takenAway, m.readBack)
	f := outboxFile(t, name, 4000)
	m.final.put(t, side, name, f)
	m.temporary.put(t, side, name+".part", f)
	before := side.onDisk(t, name)

	f.Asked = side.asked(name)
	h := newHistory(t, m.from)
	state, err := session.Deliver(t.Context(), f, m.from, false, h)
	if state != h.state {
		t.Errorf("it says %s, recorded is %s", state, h.state)
	}
	switch want := m.expected(); want {
	case Sent:
		if state != Sent || err != nil {
			t.Fatal(state, err)
		}
		if h.last.Seen == "" {
			t.Error("SENT without evidence")
		}
		side.lacks(t, name+".part")
	case Undecided:
		wantClass(t, err, BureauLasting, ErrUndecided)
		if state != Undecided || h.texts[len(h.texts)-1] == "" {
			t.Errorf("%s without a sentence", state)
		}
	default:
		wantClass(t, err, BureauLasting, ErrNameTaken)
	}
	if before != nil && !bytes.Equal(side.onDisk(t, name), before) {
		t.Error("what stood under the final name changed")
	}
	if after := side.onDisk(t, name); before == nil && after != nil && m.readBack && !bytes.Equal(after, readAll(t, f.LocalPath)) {
		t.Error("under its final name the file is not whole")
	}
}

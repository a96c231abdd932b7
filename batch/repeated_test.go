package batch

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"reemboss/batch/ledger"
)

// A repetition that a person asked for, and what cuts it: kills, the bureau's late word, a bureau that is away.

// resendKilledAt asks for a repetition in a process that dies at a point.
func (b *bench) resendKilledAt(name, point string) {
	b.Helper()
	n := b.open()
	defer n.Close()
	defer func() {
		if _, ours := recover().(killed); !ours {
			b.Fatal("the point was never passed")
		}
	}()
	n.Checkpoint = func(p string) {
		if p == point {
			panic(killed{p})
		}
	}
	_, err := n.Resend(b.Context(), name, "they cannot find it")
	b.Fatalf("not killed: %v", err)
}

// The bureau is away in the night after a rename without an answer, and tells in the next that it refused what had arrived.
func TestARefusalIsNotOldBecauseANightFoundNobody(t *testing.T) {
	b, s := oneCard(t)
	if err := os.Remove(filepath.Join(b.Simulator("alpha"), "incoming", s.FileName)); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(time.Hour)
	b.resendKilledAt(s.FileName, "sent/RENAMING")
	if err := os.Rename(filepath.Join(b.Simulator("alpha"), "incoming", s.FileName+".part"), filepath.Join(b.Simulator("alpha"), "took")); err != nil {
		t.Fatal(err)
	}
	came := b.now
	b.configure("host: alpha.simulator\n      port: 22\n", "host: alpha.simulator\n      port: 23\n") // no known host key
	b.now = b.now.Add(24 * time.Hour)
	if r := b.run(); r.Exit != 4 || b.state(s.FileName).State != ledger.Renaming {
		t.Fatalf("exit %d, %s", r.Exit, b.state(s.FileName).State)
	}
	b.configure("port: 23\n", "port: 22\n")
	b.answer("r.csv", b.fileEvent(s, "REFUSED", 1, came.Add(time.Hour)))
	b.now = b.now.Add(24 * time.Hour)
	if r := b.run(); r.Exit != 4 || b.state(s.FileName).State != ledger.Refused {
		t.Errorf("exit %d, %s", r.Exit, b.state(s.FileName).State)
	}
}

// Nothing was sent where the file stood there still, so a refusal of it that is told late is no older one.
func TestARefusalCountsWhereTheFileWasThereAlready(t *testing.T) {
	b, s := oneCard(t)
	b.now = b.now.Add(2 * time.Hour)
	n := b.open()
	if f, err := n.Resend(t.Context(), s.FileName, "they cannot find it"); err != nil || f.State != ledger.Sent {
		t.Fatalf("%s %v", f.State, err)
	}
	n.Close()
	b.answer("r.csv", b.fileEvent(s, "REFUSED", 1, b.now.Add(-time.Hour)))
	b.now = b.now.Add(time.Hour)
	if r := b.run(); r.Exit != 4 || b.state(s.FileName).State != ledger.Refused {
		t.Errorf("exit %d, %s", r.Exit, b.state(s.FileName).State)
	}
}

// A refusal that comes while a repetition is under way is not forgotten where the repetition then fails.
func TestARefusalDuringARepetitionThatFailsCounts(t *testing.T) {
	b, s := oneCard(t)
	b.now = b.now.Add(2 * time.Hour)
	b.resendKilledAt(s.FileName, "sent/INTENT")
	b.answer("r.csv", b.fileEvent(s, "REFUSED", 1, b.now.Add(-time.Hour)))
	if err := os.WriteFile(filepath.Join(b.Simulator("alpha"), "incoming", s.FileName), []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(time.Hour)
	if r := b.run(); r.Exit != 4 || b.state(s.FileName).State != ledger.Refused {
		t.Errorf("exit %d, %s", r.Exit, b.state(s.FileName).State)
	}
}

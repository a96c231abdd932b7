package batch

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"reemboss/batch/ledger"
)

// The ways in which alpha gets its files, as pairs for configure.
var (
	alphaFetches = []string{"method: sftp ", "method: folder ", "dir: returns  ", "dir: from-alpha  "}
	alphaIsSent  = []string{"method: folder ", "method: sftp ", "dir: from-alpha  ", "dir: returns  "}
)

// fetching is a bench with one order for alpha, which fetches its files from the outbox if it says so.
func fetching(t *testing.T, fetches bool) *bench {
	b := newBench(t)
	b.silent()
	if err := os.Mkdir(b.Path("from-alpha"), 0o700); err != nil {
		t.Fatal(err)
	}
	if fetches {
		b.configure(alphaFetches...)
	}
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n")
	return b
}

// fetch takes what alpha's outbox has under a final name, and keeps what it got.
func (b *bench) fetch(got map[string][]byte) {
	b.Helper()
	paths, err := filepath.Glob(filepath.Join(b.Outbox("alpha"), "*.pgp"))
	if err != nil {
		b.Fatal(err)
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		if before := got[filepath.Base(path)]; before != nil && !bytes.Equal(before, content) {
			b.Errorf("%s is there with other bytes", filepath.Base(path))
		}
		got[filepath.Base(path)] = content
		if err := os.Remove(path); err != nil {
			b.Fatal(err)
		}
	}
}

// night is the next night, a day later.
func (b *bench) night() *Result {
	b.Helper()
	b.now = b.now.Add(24 * time.Hour)
	return b.run()
}

// Killed at any point, and fetched from at once: who fetches gets the card once, in the bytes that the ledger has, or a person is asked.
func TestWhatWasFetchedIsNeverMadeAgain(t *testing.T) {
	for point, last := range map[string]ledger.BureauFileState{
		"write/plan": ledger.Sent, "write/planned": ledger.Sent, "write/bytes": ledger.Sent, "write/sealed": ledger.Sent, "write/written": ledger.Sent, "write/frozen": ledger.Sent,
		"write/placed": ledger.Undecided, "stage/release": ledger.Undecided, "stage/send": ledger.Undecided, "send/SENT": ledger.Undecided,
		"sent/SENT": ledger.Sent, "reconcile/reports": ledger.Sent,
	} {
		t.Run(point, func(t *testing.T) {
			b, got := fetching(t, true), map[string][]byte{}
			if !b.runKilledAt(point, 0) {
				t.Fatal("the point was never passed")
			}
			b.fetch(got)
			for range 2 {
				b.night()
				b.fetch(got)
			}
			s := b.order(1)
			f := b.state(s.FileName)
			if f.State != last || len(got) != 1 || got[f.Name] == nil {
				t.Fatalf("%s is %s, fetched %d", f.Name, f.State, len(got))
			}
			fetched := filepath.Join(t.TempDir(), f.Name)
			if err := os.WriteFile(fetched, got[f.Name], 0o600); err != nil {
				t.Fatal(err)
			}
			if err := frozen(fetched, f.Size, f.SHA256); err != nil {
				t.Error(err)
			}
			if left, _ := filepath.Glob(filepath.Join(b.Outbox("alpha"), "*")); len(left) != 0 {
				t.Errorf("left in the outbox: %v", left)
			}
		})
	}
}

// A cancelled plan takes with it what a crash left of its file, under the name that nobody fetches.
func TestACancelledPlanLeavesNothingInTheOutbox(t *testing.T) {
	b, got := fetching(t, true), map[string][]byte{}
	if !b.runKilledAt("write/written", 0) {
		t.Fatal("the point was never passed")
	}
	b.fetch(got)
	b.ledgerSQL("UPDATE bureau_files SET plain_digest = 'another'")
	b.night()
	name := b.plan().Name
	if moved, err := b.cancel(name); err != nil || moved != 1 || len(got) != 0 {
		t.Fatalf("%d moved, %v; fetched %d", moved, err, len(got))
	}
	if left, _ := filepath.Glob(filepath.Join(b.Outbox("alpha"), "*")); len(left) != 0 {
		t.Errorf("left in the outbox: %v", left)
	}
	b.night()
	if b.fetch(got); len(got) != 1 || b.order(1).FileName == name {
		t.Errorf("fetched %d, in %s", len(got), b.order(1).FileName)
	}
}

// What lay in the outbox while its bureau fetched there may have been fetched, whatever the configuration says when the next
// night looks: a person is asked, and till then nothing is sent, cancelled or made again.
func TestAFileThatCouldBeFetchedIsNotSent(t *testing.T) {
	for _, gone := range []bool{true, false} {
		b := fetching(t, true)
		if !b.runKilledAt("stage/send", 0) {
			t.Fatal("the point was never passed")
		}
		b.configure(alphaIsSent...)
		name := b.outgoing("alpha")[0].Name
		if gone {
			b.fetch(map[string][]byte{})
		}
		if moved, err := b.cancel(name); err == nil {
			t.Errorf("gone %v: cancelled before anybody was asked, %d moved", gone, moved)
		}
		r := b.night()
		if f := b.state(name); r.Exit != 4 || f.State != ledger.Undecided {
			t.Errorf("gone %v: exit %d, %s", gone, r.Exit, f.State)
		}
		if at, _ := filepath.Glob(filepath.Join(b.Simulator("alpha"), "incoming", "*")); len(at) != 0 {
			t.Errorf("gone %v: sent too: %v", gone, at)
		}
	}
}

// The same where the bureau fetched for one night only, and that night died before it came to send.
func TestAFileThatCouldBeFetchedForOneNightIsNotSent(t *testing.T) {
	b := fetching(t, false)
	if !b.runKilledAt("stage/release", 0) {
		t.Fatal("the point was never passed")
	}
	b.configure(alphaFetches...)
	if !b.runKilledAt("stage/send", 0) {
		t.Fatal("the point was never passed")
	}
	b.fetch(map[string][]byte{})
	b.configure(alphaIsSent...)
	if r := b.night(); r.Exit != 4 || b.state(b.order(1).FileName).State != ledger.Undecided {
		t.Errorf("exit %d, %s", r.Exit, b.state(b.order(1).FileName).State)
	}
}

// A person who knows that it was not fetched has it sent: the way that it took before does not count for the repetition.
func TestAFileThatWasNotFetchedIsSentWhenAPersonSaysSo(t *testing.T) {
	b := fetching(t, true)
	if !b.runKilledAt("stage/send", 0) {
		t.Fatal("the point was never passed")
	}
	b.configure(alphaIsSent...)
	b.night()
	name := b.order(1).FileName
	n := b.open()
	_, err := n.ResolveResend(t.Context(), name, "their fetcher was off")
	n.Close()
	if err != nil || b.state(name).State != ledger.Sent || !fileThere(filepath.Join(b.Simulator("alpha"), "incoming", name)) {
		t.Errorf("%v, %s", err, b.state(name).State)
	}
}

// A rename that was asked for at the bureau's server is not forgotten because the bureau fetches its files now.
func TestARenameIsNotForgottenWhereTheFileIsFetchedNow(t *testing.T) {
	for _, point := range []string{"sent/RENAMING", "send/SENT"} {
		b := fetching(t, false)
		if !b.runKilledAt(point, 0) {
			t.Fatal("the point was never passed")
		}
		b.configure(alphaFetches...)
		if r := b.night(); r.Exit != 4 || b.state(b.order(1).FileName).State != ledger.Undecided {
			t.Errorf("%s: exit %d, %s", point, r.Exit, b.state(b.order(1).FileName).State)
		}
	}
}

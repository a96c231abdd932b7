package batch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"reemboss/batch/ledger"
	"reemboss/batch/report"
)

// options are those of a command that works at the bench's time.
func (b *bench) options() Options {
	return Options{Log: zerolog.Nop(), Now: b.still()}
}

// backedUp makes a backup.
func (b *bench) backedUp() string {
	b.Helper()
	path := filepath.Join(b.TempDir(), "backup")
	if _, err := Backup(b.Context(), b.Dir, path, b.options()); err != nil {
		b.Fatal(err)
	}
	return path
}

// restores puts a backup back; numbers skip ahead by 3.
func (b *bench) restores(path string) error {
	b.Helper()
	skip := int64(3)
	_, err := Restore(b.Context(), b.Dir, b.options(), RestoreRequest{File: path, Sequences: &skip, Cards: &skip, PSNs: &skip, Runs: &skip, Reason: "the disk broke"})
	return err
}

// asked is what a restore tells that was not told the numbers.
func (b *bench) asked(path string) string {
	b.Helper()
	_, err := Restore(b.Context(), b.Dir, b.options(), RestoreRequest{File: path})
	var told *SetupError
	if !errors.As(err, &told) {
		b.Fatalf("asked without numbers: %v", err)
	}
	return err.Error()
}

// losesState removes something of state/.
func (b *bench) losesState(pattern string) {
	b.Helper()
	found, err := filepath.Glob(b.Path("state", pattern))
	if err != nil || len(found) == 0 {
		b.Fatalf("state/%s: %q, %v", pattern, found, err)
	}
	for _, path := range found {
		if err := os.RemoveAll(path); err != nil {
			b.Fatal(err)
		}
	}
}

func restoredBench(t *testing.T) *bench {
	b := newBench(t)
	b.silent()
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,3\n")
	if r := b.run(); r.Accepted != 1 {
		t.Fatalf("accepted %d: %s", r.Accepted, r.Verdict)
	}
	return b
}

// A file backup put back has no state/: a run there would begin with the first number of everything.
func TestAWorkspaceThatLostItsStateDoesNotBeginAgain(t *testing.T) {
	b := restoredBench(t)
	backup := b.backedUp()
	b.losesState("*")
	for range 2 { // what the first try leaves does not speak for the second
		n, err := Open(b.Context(), b.Dir, Options{Lock: true, Log: zerolog.Nop()})
		if err == nil {
			_ = n.Close()
		}
		if !errors.Is(err, ledger.ErrBehind) || !strings.Contains(err.Error(), "reports/") {
			t.Errorf("a run began anew: %v", err)
		}
	}
	if err := b.restores(backup); err != nil {
		t.Fatal(err)
	}
	b.run()
}

// A restore that was cut after its ledger took its place left signed heads to be placed; the next one must not throw them away.
func TestARestoreAfterACutOneKeepsItsSignedHeads(t *testing.T) {
	b := restoredBench(t)
	backup := b.backedUp()
	b.drop("b.csv", "card_id,user_id,reason_code\n2,C2,1\n")
	b.run()
	func() {
		defer func() { _ = recover() }()
		skip, o := int64(3), b.options()
		o.Checkpoint = func(point string) {
			if point == "restore/renamed" {
				panic("killed")
			}
		}
		_, _ = Restore(b.Context(), b.Dir, o, RestoreRequest{File: backup, Sequences: &skip, Cards: &skip, PSNs: &skip, Runs: &skip, Reason: "the disk broke"})
	}()
	b.asked(backup) // and is not given
	b.run()
	if _, err := b.verify(); err != nil {
		t.Error(err)
	}
}

// What a restore would refuse is no backup, and is said while the workspace is there.
func TestABackupIsOneThatARestoreTakes(t *testing.T) {
	for name, spoil := range map[string]func(b *bench, head string) error{
		"a head is gone":    func(_ *bench, head string) error { return os.Remove(head) },
		"a head is damaged": func(_ *bench, head string) error { return os.WriteFile(head, []byte("{"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			b := restoredBench(t)
			b.run()
			heads, err := filepath.Glob(filepath.Join(b.AuditHeads(), "*.json"))
			if err != nil || len(heads) != 2 {
				t.Fatalf("%q, %v", heads, err)
			}
			if err := spoil(b, heads[1]); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "backup")
			if _, err := Backup(b.Context(), b.Dir, path, b.options()); !errors.Is(err, ledger.ErrAuditBroken) {
				t.Errorf("backed up: %v", err)
			}
			if _, err := os.Lstat(path); err == nil {
				t.Error("there is a backup that cannot be restored")
			}
		})
	}
}

// Marks that are gone or damaged know nothing: no suggestion builds on them, and a restore is the way out.
func TestARestoreWithoutMarksSuggestsToSkip(t *testing.T) {
	for name, spoil := range map[string]func(b *bench) error{
		"gone":    func(b *bench) error { return os.Remove(b.MarksFile()) },
		"damaged": func(b *bench) error { return os.WriteFile(b.MarksFile(), []byte(`{"counters":`), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			b := restoredBench(t)
			backup := b.backedUp()
			b.run()
			if told := b.asked(backup); !strings.Contains(told, "--skip-sequences 0") {
				t.Errorf("with marks: %s", told)
			}
			if err := spoil(b); err != nil {
				t.Fatal(err)
			}
			if told := b.asked(backup); strings.Contains(told, "--skip-sequences 0") || strings.Contains(told, "they know every number") {
				t.Errorf("without marks: %s", told)
			}
			if err := b.restores(backup); err != nil {
				t.Fatal(err)
			}
			b.run()
		})
	}
}

// Operators import a fresh extract after a restore: it has the new cards of the lost nights, whose ids the ledger passed over.
func TestNewCardsOfLostNightsComeBackByAnExtract(t *testing.T) {
	b := restoredBench(t)
	backup := b.backedUp()
	b.drop("b.csv", "card_id,user_id,reason_code\n2,C2,3\n")
	b.run()
	lost := b.order(2).EmbossedCardID
	if err := b.restores(backup); err != nil {
		t.Fatal(err)
	}
	b.cards(fmt.Sprintf("%d C2 NORMAL 411111000000777 00", lost), fmt.Sprintf("%d C2 NORMAL 411111000000778 00", lost+100))
	b.run()
	n := b.open()
	defer n.Close()
	known, err := n.Ledger.Cards(t.Context(), []int64{lost, lost + 100})
	if err != nil {
		t.Fatal(err)
	}
	if known[lost] == nil {
		t.Error("the new card of a lost night is refused for ever")
	}
	if known[lost+100] != nil {
		t.Error("a card is taken whose id we gave to nobody")
	}
}

// A hold that a restore made again may be of cards that a lost night made under an approval: that one counts no more, and
// what is written about it is kept without card numbers.
func TestAnApprovalFromBeforeARestore(t *testing.T) {
	h := newHall(t)
	hold := h.holdTwo("branch 7")
	backup := h.backedUp()
	before := clearSigned(t, h.keys["anna"], approvalOf(hold, "approve", ""), h.now)
	h.now = h.now.Add(time.Hour)
	if err := h.restores(backup); err != nil {
		t.Fatal(err)
	}
	h.now = h.now.Add(time.Hour)
	if code, state := h.dropped("before.asc", before); code != "reference_conflict" || state != ledger.Held {
		t.Errorf("an approval from before the restore: %s, %s", code, state)
	}
	h.as("anna", func(n *Night) {
		if _, err := n.ResolveHold(t.Context(), hold.Name, "seen 4111110000000010"); err != nil {
			t.Fatal(err)
		}
		if err := n.Ledger.EachAudit(t.Context(), func(e ledger.AuditEntry) error {
			if strings.Contains(e.Detail, "4111110000000010") {
				t.Errorf("the audit entry %s has a card number", e.What)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	if strings.Contains(h.held().Reason, "4111110000000010") {
		t.Error("the hold has a card number")
	}
}

// A lost night may have cancelled a refused file and sent its cards in another one: nobody cancels it again unwarned, and what the bureau says of it settles it.
func TestARefusalFromBeforeARestoreIsNotOfferedUnwarned(t *testing.T) {
	b, s, _ := refused(t)
	warned := func(r *Result) bool {
		return slices.ContainsFunc(r.NeedsPerson, func(need report.Need) bool {
			return strings.Contains(need.What, s.FileName) && strings.Contains(need.Why, "a lost night may have dealt with it")
		})
	}
	if warned(b.run()) {
		t.Error("warned of a restore that never was")
	}
	backup := b.backedUp()
	n := b.open()
	if _, _, err := n.Cancel(t.Context(), s.FileName, "made anew"); err != nil {
		t.Fatal(err)
	}
	n.Close()
	b.run()
	b.now = b.now.Add(time.Hour)
	if err := b.restores(backup); err != nil {
		t.Fatal(err)
	}
	if r := b.run(); !warned(r) {
		t.Errorf("%+v", r.NeedsPerson)
	}
	b.now = b.now.Add(time.Hour)
	b.answer("after.csv", b.fileEvent(s, "RECEIVED", 1, b.now))
	b.run()
	if err := b.settle("after.csv", Take); err != nil {
		t.Fatal(err)
	}
	b.run()
	if len(b.received()) != 1 || b.state(s.FileName).State != ledger.Sent {
		t.Errorf("%d files at the bureau, %s", len(b.received()), b.state(s.FileName).State)
	}
}

package batch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"reemboss/batch/ledger"
	"reemboss/formats/iso"
)

// lostNights work two nights after the point to which the ledger will go back, and give the numbers of the new cards of
// cards 2 and 3, and what lies in outbox/ and reports/ of these nights.
func (b *bench) lostNights() (given []iso.PAN, left map[string]string) {
	b.Helper()
	before := b.contents()
	for card := int64(2); card <= 3; card++ {
		b.drop(fmt.Sprintf("lost-%d.csv", card), fmt.Sprintf("card_id,user_id,reason_code\n%d,C%d,3\n", card, card))
		if r := b.run(); r.Accepted != 1 {
			b.Fatalf("accepted %d: %s", r.Accepted, r.Verdict)
		}
		given = append(given, b.newNumber(card))
	}
	left = b.contents()
	for path := range before {
		delete(left, path)
	}
	return given, left
}

// newNumber is the number of the card that the newest order for a card made.
func (b *bench) newNumber(card int64) iso.PAN {
	b.Helper()
	id := b.order(card).EmbossedCardID
	n := b.open()
	defer n.Close()
	known, err := n.Ledger.Cards(b.Context(), []int64{id})
	if err != nil || known[id] == nil {
		b.Fatalf("card %d: %v", id, err)
	}
	return known[id].PAN
}

// contents are the files of outbox/ and reports/.
func (b *bench) contents() map[string]string {
	b.Helper()
	all := map[string]string{}
	for _, folder := range []string{"outbox", "reports"} {
		err := filepath.WalkDir(b.Path(folder), func(path string, e os.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				text, failed := os.ReadFile(path)
				all[path], err = string(text), failed
			}
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return all
}

// restoredWithNothingMore puts a backup back where a person skips no number: what the disk knows is enough.
func (b *bench) restoredWithNothingMore(backup string) *RestoreTold {
	b.Helper()
	none, one := int64(0), int64(1)
	told, err := Restore(b.Context(), b.Dir, b.options(), RestoreRequest{File: backup, Sequences: &none, Cards: &none, PSNs: &one, Runs: &none, Reason: "an older copy was there"})
	if err != nil {
		b.Fatal(err)
	}
	return told
}

// nothingAgain works a night with new cards and wants no number, file or report of the lost nights to be there again.
func (b *bench) nothingAgain(given []iso.PAN, left map[string]string) {
	b.Helper()
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00", "3 C3 NORMAL 411111000000003 00", "4 C4 NORMAL 411111000000004 00")
	b.drop("after.csv", "card_id,user_id,reason_code\n3,C3,3\n4,C4,3\n")
	if r := b.run(); r.Accepted != 2 {
		b.Fatalf("accepted %d: %s", r.Accepted, r.Verdict)
	}
	for _, card := range []int64{3, 4} {
		for _, pan := range given {
			if b.newNumber(card).Equal(pan) {
				b.Error("a number of a lost night was given to another card")
			}
		}
	}
	now := b.contents()
	for path, content := range left {
		if now[path] != content {
			b.Errorf("%s is not what the lost night left", b.Relative(path))
		}
	}
	sent := map[string]bool{}
	for path := range now {
		if number := b.sequenceOf(path); number != "" {
			if sent[number] {
				b.Errorf("two files of alpha have number %s", number)
			}
			sent[number] = true
		}
	}
}

// sequenceOf is the number in the name of a file for alpha, "" for another file.
func (b *bench) sequenceOf(path string) string {
	if filepath.Dir(path) != b.Outbox("alpha") {
		return ""
	}
	name := strings.TrimSuffix(filepath.Base(path), ".xml.pgp")
	return name[strings.LastIndexByte(name, '_')+1:]
}

func tracesBench(t *testing.T) *bench {
	b := newBench(t)
	b.silent()
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00", "3 C3 NORMAL 411111000000003 00")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,3\n")
	if r := b.run(); r.Accepted != 1 {
		t.Fatalf("accepted %d: %s", r.Accepted, r.Verdict)
	}
	return b
}

// An older copy of all of state/ has marks as old as its ledger: what the nights since left in outbox/ and reports/ tells
// of it, each alone too. Nothing is issued; a backup of that ledger, restored, goes on after them.
func TestAnOlderCopyOfTheWholeStateIsNoticed(t *testing.T) {
	for name, gone := range map[string]string{"": "", "outbox alone": "reports", "reports alone": "outbox"} {
		for _, days := range []int{0, 3} {
			t.Run(fmt.Sprintf("%s %d days later", name, days), func(t *testing.T) {
				b := tracesBench(t)
				older := filepath.Join(t.TempDir(), "state")
				if err := os.CopyFS(older, os.DirFS(b.Path("state"))); err != nil {
					t.Fatal(err)
				}
				b.now = b.now.AddDate(0, 0, days)
				given, left := b.lostNights()
				b.now = b.now.AddDate(0, 0, days)
				if gone != "" {
					for path := range left {
						if strings.HasPrefix(path, b.Path(gone)) {
							if err := os.RemoveAll(path); err != nil {
								t.Fatal(err)
							}
							_ = os.Remove(filepath.Dir(path)) // of reports, once it is empty
							delete(left, path)
						}
					}
				}
				b.losesState("*")
				if err := os.CopyFS(b.Path("state"), os.DirFS(older)); err != nil {
					t.Fatal(err)
				}
				b.stateIsPrivate()
				for range 2 {
					_, err := Open(t.Context(), b.Dir, Options{Lock: true, Log: zerolog.Nop(), Now: b.still()})
					if !errors.Is(err, ledger.ErrBehind) {
						t.Fatalf("an older copy of state/ works on: %v", err)
					}
				}
				b.statusSaysItIsOlder()
				backup := b.backedUp()
				if gone == "reports" { // nobody knows how many cards there are in the files
					none, one := int64(0), int64(1)
					request := RestoreRequest{File: backup, Sequences: &none, Cards: &none, PSNs: &one, Runs: &none, Reason: "an older copy was there"}
					if _, err := Restore(t.Context(), b.Dir, b.options(), request); err == nil || !strings.Contains(err.Error(), "--skip-cards") {
						t.Fatalf("no card was skipped: %v", err)
					}
					if err := b.restores(backup); err != nil {
						t.Fatal(err)
					}
				} else {
					b.restoredWithNothingMore(backup)
				}
				b.nothingAgain(given, left)
			})
		}
	}
}

// statusSaysItIsOlder: before anything else, whether or not this ledger knows of a run.
func (b *bench) statusSaysItIsOlder() {
	b.Helper()
	n, err := Open(b.Context(), b.Dir, b.options())
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	s, err := n.Status(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if len(s.NeedsPerson) == 0 || s.NeedsPerson[0].What != "the ledger" || !strings.Contains(s.NeedsPerson[0].Why, "older than what has already left the house") {
		b.Fatalf("status says %+v", s.NeedsPerson)
	}
}

// stateIsPrivate gives a copied state/ the rights that the original had.
func (b *bench) stateIsPrivate() {
	b.Helper()
	err := filepath.WalkDir(b.Path("state"), func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		b.Fatal(err)
	}
}

// Where state/ is lost and outbox/ and reports/ are not, they know what was given out since the backup.
func TestARestoreCountsWhatTheDiskTells(t *testing.T) {
	b := tracesBench(t)
	backup := b.backedUp()
	given, left := b.lostNights()
	b.losesState("*")
	if told := b.asked(backup); strings.Contains(told, "they know every number") {
		t.Errorf("there are no marks: %s", told)
	}
	b.restoredWithNothingMore(backup)
	b.nothingAgain(given, left)
}

// Marks of the night before the last one do not know the last one, whose files are there.
func TestMarksThatAreNotTheNewest(t *testing.T) {
	b := tracesBench(t)
	backup := b.backedUp()
	b.run()
	marks := b.read("state/marks.json")
	given, left := b.lostNights()
	b.losesState("*")
	if err := os.WriteFile(b.MarksFile(), marks, 0o600); err != nil {
		t.Fatal(err)
	}
	if told := b.asked(backup); strings.Contains(told, "they know every number") || strings.Contains(told, "--skip-sequences 0") {
		t.Errorf("with marks of an earlier night: %s", told)
	}
	b.restoredWithNothingMore(backup)
	b.nothingAgain(given, left)
}

// What an earlier restore passed over is not counted again by the next one: the marks are still those of the last run.
func TestASecondRestoreCountsOnlyWhatIsNew(t *testing.T) {
	b := tracesBench(t)
	first := b.backedUp()
	b.lostNights()
	b.losesState("*")
	b.restoredWithNothingMore(first)
	b.run()
	second := b.backedUp()
	b.run()
	if told := b.asked(second); !strings.Contains(told, "they know every number") {
		t.Errorf("the marks are not taken for the newest: %s", told)
	}
}

// A skip that uses a range up refuses the rows that want a number of it, and nothing else; the restore says so.
func TestARangeThatARestoreUsesUp(t *testing.T) {
	b := tracesBench(t)
	backup := b.backedUp()
	b.lostNights()
	none, one, all := int64(0), int64(1), int64(600_000_000)
	told, err := Restore(t.Context(), b.Dir, b.options(), RestoreRequest{File: backup, Sequences: &none, Cards: &all, PSNs: &one, Runs: &none, Reason: "when in doubt, more"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(fmt.Sprint(told.Exhausted), "ranges.visa-new") {
		t.Errorf("used up: %q", told.Exhausted)
	}
	for range 2 {
		b.cards("4 C4 NORMAL 411111000000004 00", "5 C5 NORMAL 411111000000005 00", "6 C6 NORMAL 411111000000006 00")
		b.now = b.now.AddDate(0, 0, 1)
		name := fmt.Sprintf("after-%d.csv", b.now.Day())
		b.drop(name, fmt.Sprintf("card_id,user_id,reason_code,reference\n4,C4,3,%[1]s-4\n5,C5,2,%[1]s-5\n6,C6,lost,%[1]s-6\n", name))
		if r := b.run(); r.Refused < 2 {
			t.Errorf("refused %d, %s", r.Refused, r.Verdict)
		}
		if got := fmt.Sprint(b.codes("done", name)); !strings.Contains(got, "pan_range_exhausted") {
			t.Errorf("codes %s", got)
		}
	}
}

// What lies in outbox/ under the name of a file that is only to be planned is never overwritten, whatever it is.
func TestANameThatIsTakenInTheOutboxStopsThePlan(t *testing.T) {
	b := tracesBench(t)
	b.drop("b.csv", "card_id,user_id,reason_code\n2,C2,3\n")
	path := filepath.Join(b.Outbox("alpha"), strings.Replace(filepath.Base(b.oneSent("alpha")), "_000001.", "_000002.", 1))
	if err := os.WriteFile(path, []byte("somebody's notes"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := b.open()
	_, err := n.Run(t.Context())
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, ledger.ErrBehind) || !strings.Contains(err.Error(), filepath.Base(path)) {
		t.Errorf("the run: %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "somebody's notes" {
		t.Errorf("what lay there was overwritten: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if r := b.run(); r.Written+r.CarriedOver.Written == 0 && len(r.Files) == 0 {
		t.Errorf("once it is gone: %s", r.Verdict)
	}
}

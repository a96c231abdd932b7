package batch

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"reemboss/batch/hsm"
	"reemboss/batch/ledger"
	"reemboss/formats/iso"
)

// rotated rotates both keys of the workspace, as a command does that holds its lock.
func (b *bench) rotated() {
	b.Helper()
	n := b.open()
	defer n.Close()
	for _, kind := range []string{hsm.KindPAN, hsm.KindIndex} {
		if _, err := n.keyset.Rotate(kind, b.now, rand.Reader); err != nil {
			b.Fatal(err)
		}
	}
}

// registered is a bench whose ledger has cards and an order of each.
func registered(t *testing.T, count int) *bench {
	t.Helper()
	b := newBench(t)
	b.plastics(count, false)
	if r := b.run(); r.Accepted != int64(count) {
		t.Fatalf("accepted %d", r.Accepted)
	}
	return b
}

// underPrimary: every row is under the primary keys.
func (b *bench) underPrimary() bool {
	b.Helper()
	n := b.open()
	defer n.Close()
	use, err := n.Ledger.KeyUse(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return len(use.Sealed) == 1 && use.Sealed[n.keyset.SealKeyID()] > 0 && len(use.Indexed) == 1 && use.Indexed[n.keyset.IndexKeyID()] > 0
}

// everythingFound: every number of b.plastics opens and is found.
func (b *bench) everythingFound(count int) {
	b.Helper()
	n := b.open()
	defer n.Close()
	var ids []int64
	var pans []iso.PAN
	for i := range count {
		body := fmt.Sprintf("411111%09d", i)
		p, err := iso.ParsePAN(body + string(iso.LuhnDigit(body)))
		if err != nil {
			b.Fatal(err)
		}
		ids, pans = append(ids, int64(i+1)), append(pans, p)
	}
	known, err := n.Ledger.KnownPANs(b.Context(), pans)
	cards, other := n.Ledger.Cards(b.Context(), ids)
	if err != nil || other != nil {
		b.Fatal(errors.Join(err, other))
	}
	for i, id := range ids {
		if !known[i] || cards[id] == nil || !cards[id].PAN.Equal(pans[i]) {
			b.Errorf("card %d is not found or does not open", id)
		}
	}
}

func (b *bench) rotationEntries() (what []string) {
	b.Helper()
	n := b.open()
	defer n.Close()
	err := n.Ledger.EachAudit(b.Context(), func(e ledger.AuditEntry) error {
		if strings.HasPrefix(e.What, "rotation.") {
			what = append(what, e.What)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return what
}

func noted(r *Result, text string) bool {
	return slices.ContainsFunc(r.Notes, func(s string) bool { return strings.Contains(s, text) })
}

func TestARotationIsDoneInTheBackgroundOfARun(t *testing.T) {
	b := registered(t, 30)
	b.rotated()
	if b.underPrimary() {
		t.Fatal("there is nothing to do")
	}
	r := b.run()
	if !noted(r, "every card number is under the new keys") || !b.underPrimary() {
		t.Errorf("notes: %q", r.Notes)
	}
	if got := b.rotationEntries(); !slices.Equal(got, []string{"rotation.began", "rotation.finished"}) {
		t.Errorf("audit entries %q", got)
	}
	if r := b.run(); noted(r, "new keys") || len(b.rotationEntries()) != 2 {
		t.Errorf("the next run tells of it again: %q", r.Notes)
	}
}

func TestARotationTakesABoundedPartOfARun(t *testing.T) {
	b := registered(t, 30)
	b.rotated()
	runs := 0
	for left := true; left; runs++ {
		if runs > 20 {
			t.Fatal("it does not end")
		}
		r := b.run(func(n *Night) {
			n.piece = 7
			pieces := 0
			n.Checkpoint = func(point string) {
				if point == "rekey/pieced" {
					pieces++
				}
			}
			n.Now = func() time.Time { return b.now.Add(time.Duration(pieces) * rekeyTime / 2) }
		})
		left = noted(r, "card numbers are being sealed anew")
		if left == b.underPrimary() {
			t.Errorf("run %d: the report and the ledger differ: %q", runs+1, r.Notes)
		}
	}
	if runs < 3 || len(b.rotationEntries()) != 2 {
		t.Errorf("%d runs, entries %q", runs, b.rotationEntries())
	}
}

// Killed at each step, a run goes on where it was, and nothing is lost meanwhile.
func TestARotationIsContinuedAfterACrash(t *testing.T) {
	b := registered(t, 20)
	b.rotated()
	for visit := range 3 {
		for _, point := range []string{"rekey/piece", "rekey/pieced"} {
			if !b.runKilledAt(point, visit) { // with pieces of three rows
				t.Fatalf("%s, visit %d is not passed", point, visit)
			}
			b.everythingFound(20)
		}
	}
	if r := b.run(); !noted(r, "every card number is under the new keys") || !b.underPrimary() {
		t.Errorf("notes: %q", r.Notes)
	}
	b.everythingFound(20)
}

// A process that opened the workspace before another rotated its keys writes under the new ones.
func TestTheLockGivesTheKeysOfTheLastRotation(t *testing.T) {
	b := newBench(t)
	b.rotated()
	n := b.open()
	defer n.Close()
	keys := n.keyset.Keys()
	if len(keys) < 4 {
		t.Fatalf("%d keys", len(keys))
	}
	for _, l := range keys {
		if l.Primary && (l.Kind == hsm.KindPAN && l.ID != n.keyset.SealKeyID() || l.Kind == hsm.KindIndex && l.ID != n.keyset.IndexKeyID()) {
			t.Errorf("%s: another key is in use than the primary one", l.Kind)
		}
	}
}

// After an import that brought every card anew no row is under the former key, which the ledger still lists. It may be
// retired at once: no night stops, nor one after a backup of that moment was put back.
func TestAFormerKeyIsRetiredBeforeItLeavesTheList(t *testing.T) {
	for _, restored := range []bool{false, true} {
		b := newBench(t)
		b.silent()
		b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
		b.run()
		n := b.keyring()
		former := n.keyset.IndexKeyID()
		if _, err := n.Rotate(t.Context(), "index"); err != nil {
			t.Fatal(err)
		}
		n.Close()
		b.cards("1 C1 BLOCKED 411111000000001 00", "2 C2 BLOCKED 411111000000002 00")
		extract := filepath.Join(b.InboxCards(), "cards.csv")
		n = b.open()
		if _, err := n.ImportCards(t.Context(), extract); err != nil {
			t.Fatal(err)
		}
		n.Close()
		if err := os.Remove(extract); err != nil {
			t.Fatal(err)
		}
		var backup string
		if restored {
			backup = b.backedUp()
			b.run() // ends the rotation
		}
		n = b.keyring()
		if err := n.Retire(t.Context(), "index", former); err != nil {
			t.Fatal(err)
		}
		n.Close()
		if restored {
			if err := b.restores(backup); err != nil {
				t.Fatal(err)
			}
		}
		b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,3\n")
		b.now = b.now.Add(24 * time.Hour)
		if r := b.run(); r.Accepted != 1 {
			t.Errorf("restored %v: %+v", restored, r)
		}
		if r := b.run(); r.Exit != 0 || !b.underPrimary() {
			t.Errorf("restored %v: exit %d, %+v", restored, r.Exit, r.NeedsPerson)
		}
	}
}

package batch

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reemboss/batch/ledger"
)

// What was not used of a return file: it is read again by a person's word, or when the bureau sends it again.

// unknownWord is a night in which the bureau rejected a card in a word that the mapping does not know.
func unknownWord(t *testing.T) (b *bench, content string) {
	t.Helper()
	b, s := oneCard(t)
	b.now = b.now.Add(time.Hour)
	content = strings.Replace(b.answer("r.csv", b.event(s, "REJECTED", b.now.Add(-time.Minute))), ",REJECTED,", ",nok,", 1)
	b.answerRaw("r.csv", content)
	if r := b.run(); r.Exit != 4 || b.order(1).State != ledger.SentO {
		t.Fatalf("exit %d, %s", r.Exit, b.order(1).State)
	}
	b.now = b.now.Add(time.Hour)
	return b, content
}

// knows mends the mapping.
func (b *bench) knows() { b.configure("mapping: {}\n", "mapping: {statuses: {nok: REJECTED}}\n") }

// The mapping is mended and the file read again, also where the process dies at each step of it.
func TestAnAppliedFileWithUnusedLinesIsReadAgain(t *testing.T) {
	for _, point := range []string{"", "collect/chunk", "collect/placed", "collect/done"} {
		t.Run(point, func(t *testing.T) {
			b, content := unknownWord(t)
			b.knows()
			if err := b.settle("r.csv", ReadAgain); err != nil {
				t.Fatal(err)
			}
			if point != "" && !b.runKilledAt(point, 0) {
				t.Fatal("the point was never passed")
			}
			r := b.run()
			b.mustHold(r.Reconciliation)
			if r.Exit != 0 || b.order(1).State != ledger.Rejected {
				t.Errorf("exit %d, %s: %+v", r.Exit, b.order(1).State, r.NeedsPerson)
			}
			f := b.returnFiles()[0]
			text, err := os.ReadFile(b.Path(f.Final))
			if err != nil || string(text) != content || f.Final != "returns/alpha/r.csv" || f.Problems != 0 || f.Applied != 1 {
				t.Errorf("%v %+v: %s", err, f, text)
			}
			if held, _ := filepath.Glob(filepath.Join(b.HeldReturns(), "*")); len(held) > 0 {
				t.Errorf("held: %v", held)
			}
		})
	}
}

// What is read again and cannot be used as a whole by now is quarantined, and lies nowhere else.
func TestAFileReadAgainMayEndInQuarantine(t *testing.T) {
	b, _ := unknownWord(t)
	b.configure("sealed: false", "sealed: true")
	if err := b.settle("returns/alpha/r.csv", ReadAgain); err != nil {
		t.Fatal(err)
	}
	b.run()
	if f := b.returnFiles()[0]; f.State != ledger.ReturnQuarantined || f.Final != "returns/alpha/quarantine/r.csv" || fileThere(b.Path("returns", "alpha", "r.csv")) {
		t.Fatalf("%+v", f)
	}
	b.configure("sealed: true", "sealed: false")
	b.knows()
	if err := b.settle("r.csv", ReadAgain); err != nil {
		t.Fatal(err)
	}
	b.run()
	if left := b.lies("returns/alpha/*.csv", "returns/alpha/quarantine/*"); len(left) != 1 || left[0] != "returns/alpha/r.csv" || b.order(1).State != ledger.Rejected {
		t.Errorf("%v, %s", left, b.order(1).State)
	}
}

// A mapping that is changed for the worse in the middle of a file is changed back, and every line counts once.
func TestAFileHalfAppliedUnderAnotherMapping(t *testing.T) {
	b := newBench(t)
	b.silent()
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
	b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,1\n2,C2,1\n")
	b.run()
	b.now = b.now.Add(time.Hour)
	b.answer("r.csv", b.event(b.order(1), "REJECTED", b.now), b.event(b.order(2), "REJECTED", b.now))
	n := b.open()
	n.chunk = 1
	b.diesAt(n, "collect/chunk", func() { _, _ = n.Run(t.Context()) })
	n.Close()
	b.configure("mapping: {}\n", "mapping: {statuses: {rej: REJECTED}}\n")
	if r := b.run(); r.Exit != 4 {
		t.Fatalf("exit %d", r.Exit)
	}
	b.configure("mapping: {statuses: {rej: REJECTED}}\n", "mapping: {}\n")
	if err := b.settle("r.csv", ReadAgain); err != nil {
		t.Fatal(err)
	}
	r := b.run()
	b.mustHold(r.Reconciliation)
	f := b.returnFiles()[0]
	if r.Exit != 0 || b.order(1).State != ledger.Rejected || b.order(2).State != ledger.Rejected || f.Applied != 1 || f.Known != 1 {
		t.Errorf("exit %d, %s, %s, %+v", r.Exit, b.order(1).State, b.order(2).State, f)
	}
}

// A file whose bytes are gone, or are not those that came, cannot be read again, and stays what it was.
func TestOnlyTheBytesThatCameAreReadAgain(t *testing.T) {
	for name, spoil := range map[string]func(string) error{
		"gone":    os.Remove,
		"changed": func(path string) error { return os.WriteFile(path, []byte("another's"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			b, content := unknownWord(t)
			if err := spoil(b.Path("returns", "alpha", "r.csv")); err != nil {
				t.Fatal(err)
			}
			b.knows()
			if err := b.settle("r.csv", ReadAgain); err == nil || !strings.Contains(err.Error(), "have the bureau send it again") {
				t.Errorf("%v", err)
			}
			if held, _ := filepath.Glob(filepath.Join(b.HeldReturns(), "*")); len(held) > 0 || b.returnFiles()[0].State != ledger.ReturnApplied {
				t.Errorf("%+v, held %v", b.returnFiles(), held)
			}
			b.answerRaw("again.csv", content)
			if r := b.run(); r.Exit != 0 || b.order(1).State != ledger.Rejected {
				t.Errorf("exit %d, %s", r.Exit, b.order(1).State)
			}
		})
	}
}

// The same bytes come again: an answer that was not used is told again while the mapping is not mended, and used once it is.
func TestUnusedContentIsReadWheneverItComes(t *testing.T) {
	b, content := unknownWord(t)
	b.answerRaw("again.csv", content)
	if r := b.run(); r.Exit != 4 || b.order(1).State != ledger.SentO {
		t.Errorf("exit %d, %s", r.Exit, b.order(1).State)
	}
	b.knows()
	b.answerRaw("once-more.csv", content)
	b.now = b.now.Add(time.Hour)
	if r := b.run(); r.Exit != 0 || b.order(1).State != ledger.Rejected {
		t.Errorf("exit %d, %s: %+v", r.Exit, b.order(1).State, r.NeedsPerson)
	}
	b.answerRaw("for-good.csv", content)
	b.now = b.now.Add(time.Hour)
	if r := b.run(); r.Exit != 0 || len(b.returnFiles(ledger.ReturnRepeated)) != 1 {
		t.Errorf("exit %d: %+v", r.Exit, b.returnFiles())
	}
}

// The bureau sends a file again whose copy here is damaged, before anybody knows of the damage, or dismissed it.
func TestContentWhoseCopyIsDamagedIsTakenWhenItComesAgain(t *testing.T) {
	for _, known := range []bool{false, true} {
		b, s := oneCard(t, "after: leave ", "after: remove ")
		b.now = b.now.Add(time.Hour)
		content := b.answer("r.csv", b.event(s, "SHIPPED", b.now.Add(-time.Minute)))
		if !b.runKilledAt("collect/held", 0) {
			t.Fatal("the point was never passed")
		}
		held, _ := filepath.Glob(filepath.Join(b.HeldReturns(), "*"))
		if len(held) != 1 {
			t.Fatal(held)
		}
		for _, gone := range []string{held[0], filepath.Join(b.Simulator("alpha"), "returns", "r.csv")} {
			if err := os.Remove(gone); err != nil {
				t.Fatal(err)
			}
		}
		if known {
			b.run()
		}
		b.answerRaw("again.csv", content)
		if r := b.run(); r.Exit != 4 || b.order(1).State != ledger.Shipped {
			t.Errorf("known %v: exit %d, %s", known, r.Exit, b.order(1).State)
		}
		if err := b.settle("r.csv", Dismiss); err != nil {
			t.Fatal(err)
		}
		if r := b.run(); r.Exit != 0 || b.order(1).State != ledger.Shipped {
			t.Errorf("known %v: exit %d, %s", known, r.Exit, b.order(1).State)
		}
	}
}

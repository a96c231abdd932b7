package batch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"reemboss/batch/durable"
	"reemboss/batch/ledger"
)

// counters is the part of a ledger that marks look at.
type counters struct {
	ledger.Deciding
	have map[string]int64
	head ledger.Chain
}

func (c counters) Counters(context.Context) (map[string]int64, error) { return c.have, nil }

func (c counters) AuditHead(context.Context) (ledger.Chain, error) { return c.head, nil }

func (c counters) AuditAt(_ context.Context, seq int64) (ledger.Chain, error) {
	if seq > c.head.Seq {
		return ledger.Chain{}, ledger.ErrNotFound
	}
	return ledger.Chain{Seq: seq, Hash: c.head.Hash}, nil
}

// Invariant 9: a ledger behind its high-water marks is an older copy, and nothing is issued from it.
func TestALedgerBehindItsMarksIsNoticed(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "marks.json")
	m, err := readMarks(path, durable.Files{})
	if err != nil {
		t.Fatal(err)
	}
	now := counters{have: map[string]int64{"range/visa": 40, "sequence/alpha": 7}}
	if err := m.raise(ctx, now); err != nil {
		t.Fatal(err)
	}
	if m, err = readMarks(path, durable.Files{}); err != nil {
		t.Fatal(err)
	}
	if err := m.check(ctx, now); err != nil {
		t.Errorf("the ledger that made the marks: %v", err)
	}
	if err := m.check(ctx, counters{have: map[string]int64{"range/visa": 41, "sequence/alpha": 7}}); err != nil {
		t.Errorf("a ledger ahead of its marks (killed before they were raised): %v", err)
	}
	for _, old := range []map[string]int64{{"range/visa": 39, "sequence/alpha": 7}, {"range/visa": 40, "sequence/alpha": 6}, {}} {
		if err := m.check(ctx, counters{have: old}); !errors.Is(err, ledger.ErrBehind) {
			t.Errorf("a ledger with %v passed: %v", old, err)
		}
	}
	if err := m.raise(ctx, counters{have: map[string]int64{"range/visa": 1}}); err != nil {
		t.Fatal(err)
	}
	if m, err = readMarks(path, durable.Files{}); err != nil || m.high["range/visa"] != 40 {
		t.Errorf("a mark was lowered to %d (%v)", m.high["range/visa"], err)
	}
}

// Not every act moves a counter: a night that refused all its rows is told by the chain alone.
func TestALedgerBehindItsAuditChainIsNoticed(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "marks.json")
	m, err := readMarks(path, durable.Files{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.raise(ctx, counters{head: ledger.Chain{Seq: 9, Hash: "nine"}}); err != nil {
		t.Fatal(err)
	}
	if m, err = readMarks(path, durable.Files{}); err != nil {
		t.Fatal(err)
	}
	if err := m.check(ctx, counters{head: ledger.Chain{Seq: 12, Hash: "nine"}}); err != nil {
		t.Errorf("a chain that goes on: %v", err)
	}
	for name, head := range map[string]ledger.Chain{"an older one": {Seq: 8, Hash: "nine"}, "another one": {Seq: 12, Hash: "ten"}} {
		if err := m.check(ctx, counters{head: head}); !errors.Is(err, ledger.ErrBehind) {
			t.Errorf("%s passed: %v", name, err)
		}
	}
}

// Who puts back the ledger alone, on another machine say, has no marks; files were numbered all the same.
func TestALedgerWithoutItsMarksIsNoticed(t *testing.T) {
	m, err := readMarks(filepath.Join(t.TempDir(), "marks.json"), durable.Files{})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.check(t.Context(), counters{have: map[string]int64{"runs": 1}}); err != nil {
		t.Errorf("a ledger that gave nothing out: %v", err)
	}
	if err := m.check(t.Context(), counters{have: map[string]int64{"sequence/alpha": 1}}); !errors.Is(err, ledger.ErrBehind) {
		t.Errorf("a ledger whose marks are gone passed: %v", err)
	}
}

func TestDamagedMarksAreNotTakenForNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "marks.json")
	if err := os.WriteFile(path, []byte(`{"counters":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readMarks(path, durable.Files{}); err == nil {
		t.Error("damaged marks were read as none")
	}
}

// The marks have every number before it is in a file: a new card's before the bureau's file of that card or, where that
// waits, before the result, and a file's own before its first byte.
func TestMarksAreRaisedBeforeANumberIsWritten(t *testing.T) {
	for name, c := range map[string]struct {
		hold   string
		points []string
	}{
		"the file is written": {"hold: false", []string{"write/plan", "write/bytes", "stage/send"}},
		"the bureau waits":    {"hold: true", []string{"stage/release", "stage/reconcile"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.configure("hold: false", c.hold)
			b.cards("1 C1 NORMAL 411111000000001 00")
			b.drop("a.csv", "card_id,user_id,reason_code\n1,C1,3\n")
			seen := map[string]bool{}
			b.run(func(n *Night) {
				n.Checkpoint = func(point string) {
					if !slices.Contains(c.points, point) {
						return
					}
					seen[point] = true
					onDisk, err := readMarks(n.MarksFile(), durable.Files{})
					if err != nil {
						t.Fatal(err)
					}
					counters, err := n.Ledger.Counters(t.Context())
					if err != nil || len(counters) < 2 {
						t.Fatalf("counters %v, %v", counters, err)
					}
					for counter, value := range counters {
						if onDisk.high[counter] < value {
							t.Errorf("at %s the mark of %s is %d, given out was %d", point, counter, onDisk.high[counter], value)
						}
					}
				}
			})
			if len(seen) != len(c.points) {
				t.Errorf("the run passed only %v", seen)
			}
		})
	}
}

package batch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"reemboss/batch/durable"
	"reemboss/batch/ledger"
)

// counters is the part of a ledger that marks look at.
type counters struct {
	ledger.Deciding
	have map[string]int64
}

func (c counters) Counters(context.Context) (map[string]int64, error) { return c.have, nil }

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

func TestDamagedMarksAreNotTakenForNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "marks.json")
	if err := os.WriteFile(path, []byte(`{"counters":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readMarks(path, durable.Files{}); err == nil {
		t.Error("damaged marks were read as none")
	}
}

package ledger_test

import (
	"errors"
	"testing"
	"time"

	"reemboss/batch/ledger"
)

// The hashes of a chain may never be computed differently: chains that exist would break.
func TestChainHashesAsItAlwaysDid(t *testing.T) {
	var chain ledger.Chain
	e := ledger.AuditEntry{At: time.Date(2026, 11, 21, 23, 0, 0, 1999, time.FixedZone("", 3600)), Who: "op@host", What: "run.started", Subject: "2026-11-21-001", Detail: "ü"}
	first, second := chain.Link(e), chain.Link(e)
	const want1, want2 = "878606d958e293d23f971c370122e723c2b835ca7f6c17af214ba453d84fa3aa", "509fd143cd566bc5e385c23b299ddf26e1cec29c06a3a93e698b873902ad6ffd"
	if first.Hash != want1 || second.Hash != want2 {
		t.Errorf("hashes %s %s, want %s %s", first.Hash, second.Hash, want1, want2)
	}
	if want := time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC); !first.At.Equal(want) || first.At.Location() != time.UTC {
		t.Errorf("time %v, want whole milliseconds of UTC, %v", first.At, want)
	}
}

func TestChainTakesOnlyTheNextEntry(t *testing.T) {
	var made ledger.Chain
	first, second := made.Link(ledger.AuditEntry{What: "a"}), made.Link(ledger.AuditEntry{What: "b"})
	changed := second
	changed.Detail = "x"
	for name, entries := range map[string][]ledger.AuditEntry{
		"the second first": {second}, "the first twice": {first, first}, "a changed one": {first, changed},
	} {
		var chain ledger.Chain
		var err error
		for _, e := range entries {
			err = chain.Check(e)
		}
		if !errors.Is(err, ledger.ErrAuditBroken) {
			t.Errorf("%s: error %v, want ErrAuditBroken", name, err)
		}
	}
	var chain ledger.Chain
	if err := errors.Join(chain.Check(first), chain.Check(second)); err != nil {
		t.Error(err)
	}
}

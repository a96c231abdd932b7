package sqlite_test

import (
	"path/filepath"
	"testing"

	"reemboss/batch/ledger"
	"reemboss/batch/ledger/ledgertest"
	"reemboss/batch/ledger/sqlite"
)

func openAt(t testing.TB, path string) *sqlite.Ledger {
	t.Helper()
	l, err := sqlite.Open(path, ledgertest.Vault(), sqlite.Options{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestLedgerKeepsItsPromises(t *testing.T) {
	ledgertest.Run(t, func(t *testing.T) ledger.Ledger { return openAt(t, filepath.Join(t.TempDir(), "ledger.db")) })
}

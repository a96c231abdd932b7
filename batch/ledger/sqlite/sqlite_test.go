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
	return openWith(t, path, ledgertest.Vault())
}

func openWith(t testing.TB, path string, v ledger.Vault) *sqlite.Ledger {
	t.Helper()
	l, err := sqlite.Open(path, v, sqlite.Options{Create: true})
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
	ledgertest.Run(t, func(t *testing.T, v ledger.Vault) ledger.Ledger {
		return openWith(t, filepath.Join(t.TempDir(), "ledger.db"), v)
	})
}

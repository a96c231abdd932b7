package sqlite_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"reemboss/batch/ledger"
	"reemboss/batch/ledger/ledgertest"
	"reemboss/batch/ledger/sqlite"
)

// night adds cards and entries to a ledger, as a night does.
func night(t *testing.T, l *sqlite.Ledger, number int64) {
	t.Helper()
	for i := range int64(100) {
		at := time.Unix(1e9, 0)
		_, err := l.StoreCards(t.Context(), []ledger.CardWrite{{Card: ledgertest.TestCard(number*100 + i + 1), At: at}},
			ledger.AuditEntry{At: at, Who: "op@host", What: "cards.imported", Subject: strings.Repeat("f", 60), Detail: strings.Repeat("d", 60)})
		must(t, err)
	}
}

// lay copies a ledger's file and the WAL of another moment into a new folder, and gives the path.
func lay(t *testing.T, file, log []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger.sqlite")
	must(t, errors.Join(os.WriteFile(path, file, 0o600), os.WriteFile(path+"-wal", log, 0o600)))
	return path
}

func content(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return text
}

// killed gives the files of three moments: an older file, and file and WAL as a process left them that was killed.
func killed(t *testing.T) (older, file, log []byte) {
	path := filepath.Join(t.TempDir(), "ledger.sqlite")
	for number := range int64(3) {
		l := openAt(t, path)
		if number == 2 {
			night(t, l, number)
			return older, content(t, path), content(t, path+"-wal")
		}
		night(t, l, number)
		must(t, l.Close())
		if number == 0 {
			older = content(t, path)
		}
	}
	return nil, nil, nil
}

// An older file under the WAL of a killed process is a mixture: it is found before anything is decided by it, and both
// files stay as they lie. What a killed process left is whole.
func TestAnOlderFileUnderTheLogOfAKilledProcessIsFound(t *testing.T) {
	older, file, log := killed(t)
	for name, c := range map[string]struct {
		file  []byte
		whole bool
	}{"as it was left": {file, true}, "an older file": {older, false}} {
		t.Run(name, func(t *testing.T) {
			path := lay(t, c.file, log)
			l, err := sqlite.Open(path, ledgertest.Vault(), sqlite.Options{})
			must(t, err)
			err = l.CheckLeft(t.Context())
			if c.whole && err != nil {
				t.Error(err)
			}
			if !c.whole && (!errors.Is(err, ledger.ErrDamaged) || !strings.Contains(err.Error(), path) || strings.Count(err.Error(), "reemboss restore") != 1) {
				t.Errorf("%v", err)
			}
			must(t, l.Close())
			if !c.whole && (!bytes.Equal(content(t, path), c.file) || !bytes.Equal(content(t, path+"-wal"), log)) {
				t.Error("the files were changed")
			}
		})
	}
}

// The pages may all be sound and the rows still not be of one moment.
func TestAnAuditChainWithoutItsEntriesIsNoLedgerThatWasLeft(t *testing.T) {
	for _, sql := range []string{"DELETE FROM audit WHERE seq = 50", "DELETE FROM audit WHERE seq = 1", "UPDATE audit_head SET seq = seq + 1",
		"UPDATE audit_head SET hash = 'of another entry'", "DELETE FROM audit_head"} {
		_, file, log := killed(t)
		path := lay(t, file, log)
		openAt(t, path) // so that the WAL stays
		tamper(t, path, sql)
		l := openAt(t, path)
		if err := l.CheckLeft(t.Context()); !errors.Is(err, ledger.ErrDamaged) {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// Who only looks leaves the WAL of a killed process to the one who checks it.
func TestALookLeavesTheLogOfAKilledProcess(t *testing.T) {
	_, file, log := killed(t)
	path := lay(t, file, log)
	l, err := sqlite.Open(path, ledgertest.Vault(), sqlite.Options{KeepLog: true})
	must(t, err)
	if cards, err := l.CountCards(t.Context()); err != nil || cards != 300 {
		t.Errorf("%d cards, %v", cards, err)
	}
	must(t, l.Close())
	if !bytes.Equal(content(t, path+"-wal"), log) {
		t.Error("the WAL was brought in, unchecked")
	}
	if err := sqlite.Fold(path); err != nil { // a restore, say
		t.Errorf("the look holds the ledger on: %v", err)
	}
}

// Whatever meets a broken page later says what to do.
func TestBrokenPagesAreToldWithWhatToDo(t *testing.T) {
	_, file, _ := killed(t)
	broken := bytes.Clone(file)
	for at := 8192 * 2; at < len(broken); at++ {
		broken[at] = 0xA5
	}
	for name, text := range map[string][]byte{"pages": broken, "all of it": bytes.Repeat([]byte{0xA5}, len(file))} {
		path := filepath.Join(t.TempDir(), "ledger.sqlite")
		must(t, os.WriteFile(path, text, 0o600))
		l, err := sqlite.Open(path, ledgertest.Vault(), sqlite.Options{})
		if err == nil {
			err = l.EachAudit(t.Context(), func(ledger.AuditEntry) error { return nil })
			must(t, l.Close())
		}
		if !errors.Is(err, ledger.ErrDamaged) || !strings.Contains(err.Error(), path) || strings.Count(err.Error(), "reemboss restore") != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A ledger that cannot be written any more is told with the file and what to look at.
func TestALedgerThatMayNotBeWrittenSaysWhatToLookAt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.sqlite")
	l := openAt(t, path)
	night(t, l, 0)
	must(t, l.Close())
	must(t, os.Mkdir(path+"-wal", 0o700)) // nobody can open it, not even root
	_, err := sqlite.Open(path, ledgertest.Vault(), sqlite.Options{})
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "mounted writable") {
		t.Errorf("%v", err)
	}
	must(t, os.Remove(path+"-wal"))
}

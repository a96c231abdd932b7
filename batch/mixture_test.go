package batch

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"reemboss/batch/ledger"
)

// A run is killed, and somebody puts an older ledger.sqlite under its WAL. Marks and the newest entry of the audit log come
// out of the WAL and hold; the database is a mixture all the same. Nothing is begun on it, and looking at it takes nothing away.
func TestAnOlderLedgerUnderTheLogOfAKilledRunStopsBeforeAnything(t *testing.T) {
	b := newBench(t)
	b.silent()
	b.cards("1 C1 NORMAL 411111000000001 00", "2 C2 NORMAL 411111000000002 00")
	b.drop("a.csv", "card_id\n1\n")
	b.run()
	read := func(path string) []byte {
		t.Helper()
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	older := read(b.LedgerFile())
	for range 12 { // nights between, which fill pages that the WAL of the last one does not have
		b.run()
	}
	var file, log, marks []byte
	b.drop("b.csv", "card_id\n2\n")
	func() {
		n := b.open()
		defer n.Close()
		defer func() {
			if r := recover(); r != (killed{"stage/write"}) {
				t.Fatalf("the run was not killed: %v", r)
			}
		}()
		n.Checkpoint = func(point string) {
			if point == "stage/write" {
				file, log, marks = read(b.LedgerFile()), read(b.LedgerFile()+"-wal"), read(b.MarksFile())
				panic(killed{point})
			}
		}
		_, _ = n.Run(t.Context())
	}()
	lies := func(ledgerFile []byte) {
		t.Helper()
		for path, content := range map[string][]byte{b.LedgerFile(): ledgerFile, b.LedgerFile() + "-wal": log, b.LedgerFile() + "-shm": nil, b.MarksFile(): marks} {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // other files: what the test left open stays with the old ones
				t.Fatal(err)
			}
			if content == nil {
				continue
			}
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	open := func(change bool) error {
		n, err := Open(t.Context(), b.Dir, Options{Lock: change, Log: zerolog.Nop(), Now: b.still()})
		if err == nil {
			err = n.Close()
		}
		return err
	}
	lies(older)
	_ = open(false)
	if !bytes.Equal(read(b.LedgerFile()+"-wal"), log) {
		t.Error("a look brought the WAL into the wrong file")
	}
	err := open(true)
	if !errors.Is(err, ledger.ErrDamaged) || !strings.Contains(err.Error(), "-wal") || !strings.Contains(err.Error(), "reemboss restore") {
		t.Errorf("the mixture was opened for a change: %v", err)
	}
	if !bytes.Equal(read(b.LedgerFile()), older) || !bytes.Equal(read(b.LedgerFile()+"-wal"), log) {
		t.Error("the files were changed")
	}
	lies(file)
	if err := open(true); err != nil {
		t.Errorf("file and WAL of one moment: %v", err)
	}
}

package batch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"reemboss/batch/ledger"
	sqliteledger "reemboss/batch/ledger/sqlite"
	"reemboss/testdata/proof"
)

// The driver of the ledger has no seam for single reads and writes. What can be made to fail from outside is: the lock,
// the room in the file, and (cmd/reemboss: the tests with strace) the system calls.

// with works a night on a ledger that is opened otherwise.
func (w *wholeNight) with(o sqliteledger.Options, checkpoint func(string)) (*Result, error) {
	n, err := Open(w.Context(), w.Dir, Options{Lock: true, Log: zerolog.Nop(), Now: w.still(), Ledger: o, Checkpoint: checkpoint})
	if err != nil {
		return nil, err
	}
	result, err := n.Run(w.Context())
	_ = n.Close() // of a ledger that another one has locked it may fail
	return result, err
}

// pointsOf are the checkpoints of the undisturbed night.
func (w *wholeNight) pointsOf(t *testing.T) (names []string) {
	t.Helper()
	if _, err := w.copyTo(t).with(sqliteledger.Options{}, func(point string) { names = append(names, point) }); err != nil {
		t.Fatal(err)
	}
	return names
}

// otherWriter begins a transaction in the ledger as another process would, and gives its end.
func (w *wholeNight) otherWriter(t *testing.T) (release func()) {
	t.Helper()
	conn, err := sqlite.OpenConn(w.LedgerFile(), sqlite.OpenReadWrite)
	if err == nil {
		err = sqlitex.ExecuteTransient(conn, "BEGIN IMMEDIATE", nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := sqlitex.ExecuteTransient(conn, "ROLLBACK", nil); err != nil {
			t.Error(err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

// SQLITE_BUSY: another process writes the ledger from any point on and does not end. The night ends with an error that
// says so, and the next one goes on.
func TestTheLedgerIsLockedByAnotherFromAnyPoint(t *testing.T) {
	count := proof.Of(t, "fault points")
	w := prepareNight(t)
	points := w.pointsOf(t)
	for _, i := range proof.Chosen(proof.Numbers(len(points))) {
		count.Try(t, fmt.Sprintf("%d %s", i, points[i-1]), func(t *testing.T) {
			c := w.copyTo(t)
			passed, release := 0, func() {}
			_, err := c.with(sqliteledger.Options{Wait: time.Millisecond}, func(string) {
				if passed++; passed == i {
					release = c.otherWriter(t)
				}
			})
			release()
			if err != nil && !strings.Contains(err.Error(), "locked") {
				t.Errorf("it does not say that the ledger is locked: %v", err)
			}
			if err == nil && passed > i+7 { // it wrote nothing more after the last few points
				t.Error("it came to its end on a ledger that another one had locked")
			}
			w.ends(t, c)
		})
	}
}

// One that has the ledger for a moment is waited for.
func TestAnotherWriterIsWaitedFor(t *testing.T) {
	w := prepareNight(t)
	c := w.copyTo(t)
	released := make(chan struct{})
	result, err := c.with(sqliteledger.Options{}, func(point string) {
		if point == "stage/write" {
			release := c.otherWriter(t)
			time.AfterFunc(20*time.Millisecond, func() {
				release()
				close(released)
			})
		}
	})
	<-released
	if err != nil || result.Exit != w.exit {
		t.Fatalf("%+v, %v", result, err)
	}
	w.keptBy(c)
}

// SQLITE_FULL: the ledger may grow by so many pages and no more. Whatever it was that had no room, nothing of it is
// there, the night says so and ends; with room again the next one goes on.
func TestTheLedgerIsFullAfterAnyPage(t *testing.T) {
	count := proof.Of(t, "fault points")
	w := prepareNight(t)
	has := w.pages(t)
	after := w.copyTo(t)
	if _, err := after.night(nil); err != nil {
		t.Fatal(err)
	}
	grows := after.pages(t) - has
	t.Logf("the ledger has %d pages, the night adds %d", has, grows)
	if grows < 3 {
		t.Fatal("the night needs no room")
	}
	for _, pages := range proof.Chosen(proof.Numbers(int(grows))) {
		more := int64(pages - 1)
		count.Try(t, fmt.Sprintf("%d pages more", more), func(t *testing.T) {
			c := w.copyTo(t)
			_, err := c.with(sqliteledger.Options{MaxPages: has + more}, nil)
			if err == nil || !strings.Contains(err.Error(), "full") {
				t.Errorf("it does not say that the ledger is full: %v", err)
			}
			c.nothingClear()
			w.ends(t, c)
		})
	}
}

// pages is how many the ledger's file has, once its log is brought in.
func (w *wholeNight) pages(t *testing.T) (count int64) {
	t.Helper()
	conn, err := sqlite.OpenConn(w.LedgerFile(), sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	if err := sqlitex.ExecuteTransient(conn, "PRAGMA wal_checkpoint(TRUNCATE)", nil); err != nil {
		t.Fatal(err)
	}
	err = sqlitex.ExecuteTransient(conn, "PRAGMA page_count", &sqlitex.ExecOptions{ResultFunc: func(s *sqlite.Stmt) error {
		count = s.ColumnInt64(0)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	return count
}

// A run that hangs in the middle of a write holds the ledger: a backup beside it says so, makes nothing and can be given again.
func TestABackupBesideAWriterThatHangsSaysTryAgain(t *testing.T) {
	w := prepareNight(t)
	o := Options{Log: zerolog.Nop(), Now: w.still(), Ledger: sqliteledger.Options{Wait: time.Millisecond}}
	path := filepath.Join(t.TempDir(), "cards.backup")
	release := w.otherWriter(t)
	_, err := Backup(t.Context(), w.Dir, path, o)
	if !errors.Is(err, ledger.ErrBusy) || !strings.Contains(err.Error(), "a run is at work") || !strings.Contains(err.Error(), "try again later") {
		t.Errorf("%v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a backup is there: %v", err)
	}
	release()
	if _, err := Backup(t.Context(), w.Dir, path, o); err != nil {
		t.Errorf("with the ledger free: %v", err)
	}
}

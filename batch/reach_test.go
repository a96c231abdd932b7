package batch

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"
)

// What keeps an account from the ledger, and a command that changes something from the folders of a run, is said in a sentence, with the file, its owner and what to do, before the ledger is
// opened, by commands that change and by those that look; exit code 2.
func TestALedgerOutOfReachIsToldInASentence(t *testing.T) {
	us := os.Geteuid()
	for _, c := range []struct {
		name, path string
		uid        int
		refusal    error
		says       []string
	}{
		{"the ledger of another account", "state/ledger.sqlite", us + 1, syscall.EACCES, []string{"state/ledger.sqlite belongs to uid", "(mode 0600)", "chown it to the account that owns the workspace"}},
		{"its log", "state/ledger.sqlite-wal", us + 1, syscall.EACCES, []string{"state/ledger.sqlite-wal belongs to uid"}},
		{"marks of another account", "state/marks.json", us + 1, syscall.EACCES, []string{"state/marks.json belongs to uid"}},
		{"a folder that may not be written", "state", us, syscall.EACCES, []string{"state has mode 0700", "chmod 700 it"}},
		{"a ledger that may not be written", "state/ledger.sqlite", us, syscall.EACCES, []string{"state/ledger.sqlite has mode 0600", "chmod 600 it"}},
		{"a read-only file system", "state", us, syscall.EROFS, []string{"state lies on a file system that is mounted read-only", "mount it writable"}},
		{"an outbox of another account", "outbox/alpha", us + 1, syscall.EACCES, []string{"outbox/alpha belongs to uid", "chown it to the account that owns the workspace"}},
		{"reports that may not be written", "reports", us, syscall.EACCES, []string{"reports has mode 0700", "chmod 700 it"}},
		{"an inbox that may not be listed", "inbox", us, syscall.EACCES, []string{"inbox has mode 0700", "chmod 700 it"}},
		{"a folder of answers that is mounted read-only", "done", us, syscall.EROFS, []string{"done lies on a file system that is mounted read-only, and a run writes there", "mount it writable"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.run()
			held := b.open() // so that there is a WAL
			defer held.Close()
			o := Options{Log: zerolog.Nop(), Now: b.still(), Access: func(path string, _ uint32) error {
				if path == b.Path(c.path) {
					return &os.PathError{Op: "access", Path: path, Err: c.refusal}
				}
				return nil
			}}
			if us == 0 { // what root owns is trusted
				o.UserID = func() int { return c.uid }
			}
			_, look := Open(t.Context(), b.Dir, o)
			_, backup := Backup(t.Context(), b.Dir, b.Path("b.backup"), o)
			rows := CountRows(t.Context(), b.Dir, o, nil)
			o.Lock = true
			_, change := Open(t.Context(), b.Dir, o)
			commands := map[string]error{"a look": look, "a change": change, "a backup": backup, "keys list": rows}
			if !strings.HasPrefix(c.path, "state") { // who looks, or makes a backup, need not write there
				if err := errors.Join(look, backup, rows); err != nil {
					t.Errorf("a command that is no run: %v", err)
				}
				commands = map[string]error{"a change": change}
			}
			for command, err := range commands {
				var setup *SetupError
				if !errors.As(err, &setup) {
					t.Errorf("%s: %v", command, err)
					continue
				}
				for _, want := range c.says {
					if us != 0 && strings.Contains(want, "belongs to") {
						continue // nobody but root can be told of files that are not his
					}
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%s: %v; want %q", command, err, want)
					}
				}
			}
		})
	}
}

// The kernel is asked: what it says of files that are ours is taken, and what is not there is no matter.
func TestALedgerWithinReachIsOpened(t *testing.T) {
	b := newBench(t)
	if err := os.RemoveAll(b.Path("state")); err != nil {
		t.Fatal(err)
	}
	b.run()
	b.run()
	if err := access(b.Path("nowhere"), toRead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a file that is not there: %v", err)
	}
	if err := access(b.Path("config.yaml", "below"), toRead); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("of a path through a file: %v", err)
	}
}

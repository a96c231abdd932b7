package batch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// How a place is used, as access(2) has it.
const (
	toRead  = 4
	toWrite = 2
	toEnter = 1
)

// reach says whether this process may use the ledger: read and write its files,
// and make and remove files in their folder. Who only looks does that too:
// SQLite keeps its WAL and its locks there. Asked before the ledger is opened,
// because what SQLite says then ("unable to open database file") names neither
// the file that is wrong nor its owner. Files that are not there are no matter here.
func (n *Night) reach(who privilege) error {
	for _, p := range []struct {
		path string
		how  uint32
	}{
		{n.Path("state"), toRead | toWrite | toEnter}, {n.LedgerFile(), toRead | toWrite}, {n.LedgerFile() + "-wal", toRead | toWrite},
		{n.LedgerFile() + "-shm", toRead | toWrite}, {n.MarksFile(), toRead},
	} {
		switch err := who.access(p.path, p.how); {
		case err == nil, errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, syscall.EROFS):
			return setup("%s lies on a file system that is mounted read-only, and every command, also one that only looks, writes there (the ledger's log and its locks); mount it writable, and look in the machine's log why it was not", n.called(p.path))
		default:
			return &SetupError{n.outOfReach(who, p.path, err)}
		}
	}
	return nil
}

// outOfReach says whose a place is and what its owner does.
func (n *Night) outOfReach(who privilege, path string, cause error) error {
	name := n.called(path)
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("%s cannot be used by this account (uid %d): %w", name, who.uid, plain(cause))
	}
	mend := "chmod 600"
	if info.IsDir() {
		mend = "chmod 700"
	}
	if owner, known := userOf(info); known && owner != who.uid {
		return fmt.Errorf("%s belongs to uid %d and this runs as uid %d, which may not read and write it (mode %04o): a command has run as another account; chown it to the account that owns the workspace, and run as that one always",
			name, owner, who.uid, info.Mode().Perm())
	}
	return fmt.Errorf("%s has mode %04o and this account may not read and write it (%w); %s it, or mend what else keeps the account out", name, info.Mode().Perm(), plain(cause), mend)
}

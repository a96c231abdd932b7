package batch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// How a place is used, as access(2) has it.
const (
	toRead  = 4
	toWrite = 2
	toEnter = 1
)

// used is a place, and how it is used.
type used struct {
	path string
	how  uint32
}

// ofRuns are the folders that a run reads and writes, besides the ledger's. The inboxes need not be written: a night has
// more to do than to take files, and tells those that it cannot take.
func (n *Night) ofRuns() []used {
	const all = toRead | toWrite | toEnter
	list := []used{{n.Inbox(), toRead | toEnter}, {n.InboxCards(), toRead | toEnter}, {n.Intake(), all}, {n.HeldReturns(), all}, {n.AuditHeads(), all},
		{n.Path("done"), all}, {n.Path("refused"), all}, {n.Path("reports"), all}}
	for _, name := range n.recipients() {
		list = append(list, used{n.Outbox(name), all})
	}
	return slices.DeleteFunc(list, func(u used) bool { // what is no folder is told where the folders are made
		info, err := os.Stat(u.path)
		return err != nil || !info.IsDir()
	})
}

// reach says whether this process may use the ledger: read and write its files,
// and make and remove files in their folder. Who only looks does that too:
// SQLite keeps its WAL and its locks there. Asked before the ledger is opened,
// because what SQLite says then ("unable to open database file") names neither
// the file that is wrong nor its owner. Files that are not there are no matter here.
func (n *Night) reach(who privilege) error {
	return n.within(who, "every command, also one that only looks, writes there (the ledger's log and its locks)",
		used{n.Path("state"), toRead | toWrite | toEnter}, used{n.LedgerFile(), toRead | toWrite}, used{n.LedgerFile() + "-wal", toRead | toWrite},
		used{n.LedgerFile() + "-shm", toRead | toWrite}, used{n.MarksFile(), toRead})
}

// reachRun is [Night.reach] for the folders of a run, or one would end half way.
func (n *Night) reachRun(who privilege) error {
	return n.within(who, "a run writes there", n.ofRuns()...)
}

func (n *Night) within(who privilege, writes string, places ...used) error {
	for _, p := range places {
		switch err := who.access(p.path, p.how); {
		case err == nil, errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, syscall.EROFS):
			return setup("%s lies on a file system that is mounted read-only, and %s; mount it writable, and look in the machine's log why it was not", n.called(p.path), writes)
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

package batch

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/gofrs/flock"

	"reemboss/batch/durable"
)

// Workspace is the folder that a night works in (docs/operations.md). All its
// folders are private (0700).
type Workspace struct {
	Dir string
	// Files is how its files are written; the zero value writes to this machine's disk.
	Files durable.Files
}

// ErrLocked: another run holds the workspace's lock (exit code 3).
var ErrLocked = errors.New("another run is working in this workspace")

// Path joins a slash-separated path of the workspace to its folder.
func (w Workspace) Path(elements ...string) string {
	return filepath.Join(append([]string{w.Dir}, elements...)...)
}

// Resolve gives the place of a path from the configuration: relative ones start at the workspace.
func (w Workspace) Resolve(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return w.Path(path)
}

// Relative is the inverse of [Workspace.Resolve], for what the ledger keeps.
func (w Workspace) Relative(path string) string {
	if rel, err := filepath.Rel(w.Dir, path); err == nil {
		return filepath.ToSlash(rel)
	}
	return path
}

// Places of the workspace, a public promise.
func (w Workspace) Config() string                 { return w.Path("config.yaml") }
func (w Workspace) Inbox() string                  { return w.Path("inbox") }
func (w Workspace) InboxCards() string             { return w.Path("inbox", "cards") }
func (w Workspace) Intake() string                 { return w.Path("state", "intake") }
func (w Workspace) HeldReturns() string            { return w.Path("state", "returns") }
func (w Workspace) AuditHeads() string             { return w.Path("state", "audit") }
func (w Workspace) LedgerFile() string             { return w.Path("state", "ledger.sqlite") }
func (w Workspace) MarksFile() string              { return w.Path("state", "marks.json") }
func (w Workspace) Backups() string                { return w.Path("state", "backup") }
func (w Workspace) LockFile() string               { return w.Path("state", "lock") }
func (w Workspace) Keyset() string                 { return w.Path("keys", "keyset.json") }
func (w Workspace) Outbox(recipient string) string { return w.Path("outbox", recipient) }
func (w Workspace) Reports(run string) string      { return w.Path("reports", run) }
func (w Workspace) Simulator(bureau string) string { return w.Path("simulator", bureau) }

// folders are those that must be there before a night begins.
func (w Workspace) folders(recipients []string) []string {
	list := []string{w.Inbox(), w.InboxCards(), w.Path("outbox"), w.Path("returns"), w.Path("done"), w.Path("refused"),
		w.Path("reports"), w.Path("state"), w.Intake(), w.HeldReturns(), w.Path("keys")}
	for _, r := range recipients {
		list = append(list, w.Outbox(r))
	}
	return list
}

// prepare makes the folders that are missing.
func (w Workspace) prepare(recipients []string) error {
	for _, folder := range w.folders(recipients) {
		if err := w.Files.MkdirAll(folder); err != nil {
			return fmt.Errorf("make the workspace folder %s: %w", folder, err)
		}
	}
	return nil
}

// lock takes the workspace for this process until the returned function is
// called or the process ends, however it ends.
func (w Workspace) lock() (unlock func(), err error) {
	if err := w.Files.MkdirAll(w.Path("state")); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	l := flock.New(w.LockFile(), flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	if errors.Is(err, fs.ErrPermission) {
		return nil, setup("state/lock cannot be opened by this account (%w): another account has run here; give what it made in state/ to this one, and run as one account always", err)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", w.LockFile(), err)
	}
	if !ok {
		return nil, fmt.Errorf("%w (%s)", ErrLocked, w.Dir)
	}
	return func() { _ = l.Unlock() }, nil
}

// sweep removes the nameless files that a process left which died while it
// wrote into one of the folders; a folder that is not there has none. The lock must be held.
func (w Workspace) sweep(folders ...string) error {
	for _, folder := range folders {
		if err := w.Files.Sweep(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("clear %s of what a crash left: %w", w.Relative(folder), err)
		}
	}
	return nil
}

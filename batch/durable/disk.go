package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// Disk is the file system as far as this program changes it: each method is one
// step that may fail, or be the last of a process. Nothing is durable but by
// [File.Sync] (bytes) and SyncFolder (names). Errors are those of package os. The
// machine's own is the default; tests count the steps, let one fail, or forget
// what was not synced.
type Disk interface {
	// CreateTemp makes a new private file (0600) in folder; its name begins with prefix.
	CreateTemp(folder, prefix string) (File, error)
	// Rename replaces a file that is at to.
	Rename(from, to string) error
	// Link gives a file a second name, which must be free (fs.ErrExist).
	Link(from, to string) error
	// RenameNew is Rename to a name that must be free (fs.ErrExist), for file systems without second names; not every
	// machine and file system has it (errors.ErrUnsupported).
	RenameNew(from, to string) error
	// Remove deletes a file or an empty folder.
	Remove(path string) error
	// RemoveIn is Remove of a slash-separated path of root; no link on the way leads out of it.
	RemoveIn(root *os.Root, path string) error
	// Mkdir makes a private folder (0700).
	Mkdir(path string) error
	// SyncFolder makes the names in a folder durable.
	SyncFolder(path string) error
}

// File is a new file on a [Disk].
type File interface {
	io.Writer
	Name() string
	Chmod(mode fs.FileMode) error
	Sync() error
	Close() error
}

// Machine is the file system of this machine.
type Machine struct{}

// CreateTemp implements [Disk].
func (Machine) CreateTemp(folder, prefix string) (File, error) {
	f, err := os.CreateTemp(folder, prefix)
	if err != nil {
		return nil, err // not f: an interface that holds a nil pointer is not nil
	}
	return f, nil
}

// Rename implements [Disk].
func (Machine) Rename(from, to string) error { return os.Rename(from, to) }

// Link implements [Disk].
func (Machine) Link(from, to string) error { return os.Link(from, to) }

// Remove implements [Disk].
func (Machine) Remove(path string) error { return os.Remove(path) }

// RemoveIn implements [Disk].
func (Machine) RemoveIn(root *os.Root, path string) error { return root.Remove(path) }

// Mkdir implements [Disk].
func (Machine) Mkdir(path string) error { return os.Mkdir(path, 0o700) }

// SyncFolder implements [Disk].
func (Machine) SyncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Package durable writes files that are whole or not there: private temporary
// name in the same folder, fsync, rename, fsync of the folder. A crash at any
// point leaves the old file or the new one under the name, never a part; what
// else it may leave is a temporary file whose name begins with [TempPrefix]
// (sealed or masked bytes only: callers write no others), which [Files.Sweep] removes.
//
// All that a night writes goes this way, the ledger's own files excepted: they
// are SQLite's, which syncs them itself.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// TempPrefix begins the name of every temporary file of this package.
const TempPrefix = ".reemboss-tmp-"

// private is the mode of a file unless said otherwise.
const private fs.FileMode = 0o600

// Files writes to a disk. The zero value writes to the machine's own.
type Files struct{ Disk Disk }

func (f Files) disk() Disk {
	if f.Disk == nil {
		return Machine{}
	}
	return f.Disk
}

// Write makes the file path with mode 0600 from what fill writes. Nothing is
// under path until the content is durable. An existing file is replaced.
func (f Files) Write(path string, fill func(io.Writer) error) error {
	return f.write(path, private, fill, f.disk().Rename)
}

// WriteMode is [Files.Write] with a mode of its own.
func (f Files) WriteMode(path string, mode fs.FileMode, fill func(io.Writer) error) error {
	return f.write(path, mode, fill, f.disk().Rename)
}

// WriteAmongOthers is [Files.WriteMode] into a folder that others write into too, which must not be swept: the names of
// its temporary files belong to path, and what a crash left of an earlier write is removed by the next one. Only one
// process at a time may write path.
func (f Files) WriteAmongOthers(path string, mode fs.FileMode, fill func(io.Writer) error) error {
	own := TempPrefix + filepath.Base(path) + "-"
	if err := f.sweep(filepath.Dir(path), own); err != nil {
		return err
	}
	return f.writeAs(own, path, mode, fill, f.disk().Rename)
}

// Create is [Files.Write] for a name that must be free: an existing file is an
// error that wraps fs.ErrExist, and stays as it is.
func (f Files) Create(path string, fill func(io.Writer) error) error {
	return f.CreateMode(path, private, fill)
}

// CreateMode is [Files.Create] with a mode of its own.
func (f Files) CreateMode(path string, mode fs.FileMode, fill func(io.Writer) error) error {
	return f.write(path, mode, fill, func(temp, path string) error {
		err := f.disk().Link(temp, path)
		if noLinks(err) {
			return f.disk().RenameNew(temp, path)
		}
		if err != nil {
			return err
		}
		return f.disk().Remove(temp)
	})
}

// noLinks: the file system has no second names (FAT, many network shares).
func noLinks(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EPERM)
}

func (f Files) write(path string, mode fs.FileMode, fill func(io.Writer) error, publish func(temp, path string) error) error {
	return f.writeAs(TempPrefix, path, mode, fill, publish)
}

func (f Files) writeAs(prefix, path string, mode fs.FileMode, fill func(io.Writer) error, publish func(temp, path string) error) (err error) {
	folder := filepath.Dir(path)
	temp, err := f.disk().CreateTemp(folder, prefix)
	if err != nil {
		return fmt.Errorf("make a file in %s: %w", folder, err)
	}
	defer func() {
		if err != nil {
			_ = temp.Close()
			_ = f.disk().Remove(temp.Name())
		}
	}()
	if mode != private {
		if err := temp.Chmod(mode); err != nil {
			return fmt.Errorf("set the mode of %s: %w", path, err)
		}
	}
	if err := fill(temp); err != nil {
		return err
	}
	if err := temp.Sync(); err != nil {
		return fmt.Errorf("make %s durable: %w", path, err)
	}
	if err := temp.Close(); err != nil {
		return fmt.Errorf("close %s: %w", path, err)
	}
	if err := publish(temp.Name(), path); err != nil {
		return fmt.Errorf("put %s in its place: %w", path, err)
	}
	return f.SyncFolder(folder)
}

// MkdirAll makes a private folder (0700) and what is missing above it, each
// entry durable before the next.
func (f Files) MkdirAll(path string) error {
	switch info, err := os.Stat(path); {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%s is a file, not a folder", path)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := f.MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	if err := f.disk().Mkdir(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return f.SyncFolder(filepath.Dir(path))
}

// Rename moves a file within one file system and makes both folders durable.
// A file that is already at the new name is replaced.
func (f Files) Rename(from, to string) error {
	if err := f.disk().Rename(from, to); err != nil {
		return err
	}
	if err := f.SyncFolder(filepath.Dir(to)); err != nil {
		return err
	}
	if filepath.Dir(from) == filepath.Dir(to) {
		return nil
	}
	return f.SyncFolder(filepath.Dir(from))
}

// Remove deletes a file, which may be gone already, and makes its folder durable.
func (f Files) Remove(path string) error {
	if err := f.disk().Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.SyncFolder(filepath.Dir(path))
}

// RemoveAll deletes a folder with all that is in it, or a file; either may be
// gone already. A crash leaves a part of it.
func (f Files) RemoveAll(path string) error {
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil && !errors.Is(err, syscall.ENOTDIR):
		return err
	}
	for _, e := range entries {
		within := filepath.Join(path, e.Name())
		if e.IsDir() {
			err = f.RemoveAll(within)
		} else {
			err = f.disk().Remove(within)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return f.Remove(path)
}

// Link gives a file a second name, which must be free (fs.ErrExist), and
// makes its folder durable.
func (f Files) Link(from, to string) error {
	if err := f.disk().Link(from, to); err != nil {
		return err
	}
	return f.SyncFolder(filepath.Dir(to))
}

// RemoveIn is [Files.Remove] of a slash-separated path of root, a file or an
// empty folder; no link on the way leads out of it.
func (f Files) RemoveIn(root *os.Root, path string) error {
	if err := f.disk().RemoveIn(root, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.SyncFolder(filepath.Dir(filepath.Join(root.Name(), filepath.FromSlash(path))))
}

// SyncFolder makes the entries of a folder durable.
func (f Files) SyncFolder(path string) error {
	if err := f.disk().SyncFolder(path); err != nil {
		return fmt.Errorf("make folder %s durable: %w", path, err)
	}
	return nil
}

// Sweep removes what crashed writers left in a folder. Only call it while no
// other process writes there (the run lock is held).
func (f Files) Sweep(folder string) error { return f.sweep(folder, TempPrefix) }

func (f Files) sweep(folder, prefix string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			if err := f.disk().Remove(filepath.Join(folder, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

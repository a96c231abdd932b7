// Package durable writes files that are whole or not there: private temporary
// name in the same folder, fsync, rename, fsync of the folder. A crash at any
// point leaves the old file or the new one under the name, never a part; what
// else it may leave is a temporary file whose name begins with [TempPrefix]
// (sealed or masked bytes only: callers write no others), which [Sweep] removes.
package durable

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// TempPrefix begins the name of every temporary file of this package.
const TempPrefix = ".reemboss-tmp-"

// Write makes the file path with mode 0600 from what fill writes. Nothing is
// under path until the content is durable. An existing file is replaced.
func Write(path string, fill func(io.Writer) error) (err error) {
	return write(path, fill, os.Rename)
}

// Create is [Write] for a name that must be free: an existing file is an
// error that wraps fs.ErrExist, and stays as it is.
func Create(path string, fill func(io.Writer) error) error {
	return write(path, fill, func(temp, path string) error {
		if err := os.Link(temp, path); err != nil {
			return err
		}
		return os.Remove(temp)
	})
}

func write(path string, fill func(io.Writer) error, publish func(temp, path string) error) (err error) {
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, TempPrefix) // mode 0600
	if err != nil {
		return fmt.Errorf("make a file in %s: %w", folder, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("make %s durable: %w", path, err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("close %s: %w", path, err)
	}
	if err := publish(f.Name(), path); err != nil {
		return fmt.Errorf("put %s in its place: %w", path, err)
	}
	return SyncFolder(folder)
}

// MkdirAll makes a private folder (0700) and what is missing above it, each
// entry durable before the next.
func MkdirAll(path string) error {
	switch info, err := os.Stat(path); {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%s is a file, not a folder", path)
	case !os.IsNotExist(err):
		return err
	}
	if err := MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !os.IsExist(err) {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

// Rename moves a file within one file system and makes both folders durable.
// A file that is already at the new name is replaced.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	if err := SyncFolder(filepath.Dir(to)); err != nil {
		return err
	}
	if filepath.Dir(from) == filepath.Dir(to) {
		return nil
	}
	return SyncFolder(filepath.Dir(from))
}

// Remove deletes a file, which may be gone already, and makes its folder durable.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

// RemoveAll deletes a folder with all in it, which may be gone already, and makes
// the folder above durable. A crash may leave a part of what was in it.
func RemoveAll(path string) error {
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(path))
}

// Link gives a file a second name in the same file system, and makes the folder
// of that name durable. A name that is taken is an error that wraps fs.ErrExist.
func Link(from, to string) error {
	if err := os.Link(from, to); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(to))
}

// SyncFolder makes the entries of a folder durable.
func SyncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open folder %s: %w", path, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("make folder %s durable: %w", path, err)
	}
	return nil
}

// Sweep removes what crashed writers left in a folder. Only call it while no
// other process writes there (the run lock is held).
func Sweep(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), TempPrefix) {
			if err := os.Remove(filepath.Join(folder, e.Name())); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
	}
	return nil
}

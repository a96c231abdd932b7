package bureau

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Folder is a bureau whose files come by way of folders of this machine. Its
// methods do what those of [Session] of the same name do, once each. Folders are
// absolute or relative to Root. Only plain files count; no link in them is followed.
type Folder struct {
	Root       string
	TempSuffix string // of files that are still being written; .part
	Disk       Disk   // nil: this machine's
}

// Disk is what [Folder] changes in a file system, with the errors of package os.
type Disk interface {
	Link(from, to string) error
	Remove(path string) error
	SyncFolder(path string) error
}

type machine struct{}

func (machine) Link(from, to string) error { return os.Link(from, to) }
func (machine) Remove(path string) error   { return os.Remove(path) }
func (machine) SyncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

func (f Folder) disk() Disk {
	if f.Disk == nil {
		return machine{}
	}
	return f.Disk
}

// Waiting lists the files of dir, see [Session.Waiting].
func (f Folder) Waiting(ctx context.Context, dir string, patterns []string) ([]RemoteFile, error) {
	if err := checkPatterns(patterns); err != nil {
		return nil, err
	}
	folder, err := os.Open(f.at(dir))
	if err != nil {
		return nil, f.failed("list", f.at(dir), "returns.dir", err)
	}
	defer func() { _ = folder.Close() }()
	entries, err := folder.Readdir(-1)
	if err != nil {
		return nil, f.failed("list", f.at(dir), "returns.dir", err)
	}
	temporary := f.TempSuffix
	if temporary == "" {
		temporary = ".part"
	}
	return filesAmong(entries, patterns, temporary), ctx.Err()
}

// Fetch reads a file to its end, see [Session.Fetch].
func (f Folder) Fetch(ctx context.Context, dir string, file RemoteFile, open func() (io.WriteCloser, error)) error {
	if err := checkPickUpName(file.Name); err != nil {
		return err
	}
	name := filepath.Join(f.at(dir), file.Name)
	source, err := f.open(f.at(dir), file)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	return intoPlace(open, name, file.Size, func(p *place) error {
		n, err := io.Copy(p, untilDone{ctx, source})
		switch {
		case p.over:
			return changing("", name, fmt.Sprintf("it grew past the %d bytes that it had", file.Size))
		case p.err != nil:
			return nil // told by intoPlace
		case ctx.Err() != nil:
			return &Error{Class: Operator, Op: "fetch " + name, What: "it was stopped before its end", Do: "the next run continues", Err: context.Cause(ctx)}
		case err != nil:
			return f.failed("read", name, "returns.dir", err)
		case n != file.Size:
			return changing("", name, fmt.Sprintf("it ended after %d of %d bytes", n, file.Size))
		}
		return nil
	})
}

// open gives the very plain file that has the name, and not what a link points to.
func (f Folder) open(dir string, file RemoteFile) (*os.File, error) {
	name := filepath.Join(dir, file.Name)
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, f.failed("fetch", name, "returns.dir", err)
	}
	defer func() { _ = root.Close() }()
	listed, err := root.Lstat(file.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, changing("", name, "it is gone")
	case err != nil:
		return nil, f.failed("look at", name, "returns.dir", err)
	case !listed.Mode().IsRegular():
		return nil, changing("", name, "it is no plain file any more")
	case listed.Size() != file.Size:
		return nil, changing("", name, fmt.Sprintf("it has %d bytes and had %d", listed.Size(), file.Size))
	}
	source, err := root.Open(file.Name)
	if err != nil {
		return nil, f.failed("read", name, "returns.dir", err)
	}
	if opened, err := source.Stat(); err != nil || !os.SameFile(listed, opened) {
		_ = source.Close()
		return nil, changing("", name, "another file has its name")
	}
	return source, nil
}

// Discard removes a file, see [Session.Discard].
func (f Folder) Discard(_ context.Context, dir, name string) error {
	if err := checkPickUpName(name); err != nil {
		return err
	}
	full := filepath.Join(f.at(dir), name)
	if err := f.disk().Remove(full); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return f.failed("remove", full, "returns.dir", err)
	}
	return f.disk().SyncFolder(f.at(dir))
}

// SetAside moves a file, see [Session.SetAside]. Both folders must be on one file system.
func (f Folder) SetAside(_ context.Context, dir, name, to string) error {
	if err := checkPickUpName(name); err != nil {
		return err
	}
	from := filepath.Join(f.at(dir), name)
	for n := 1; n <= mostTaken; n++ {
		target := filepath.Join(f.at(to), numbered(name, n))
		err := f.moveOver(from, target)
		switch {
		case err == nil:
			return errors.Join(f.disk().SyncFolder(f.at(to)), f.disk().SyncFolder(f.at(dir)))
		case errors.Is(err, fs.ErrExist):
			if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
				return nil
			}
		case errors.Is(err, fs.ErrNotExist):
			if _, err := os.Lstat(from); errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return f.failed("move to", target, "returns.move_to", err)
		default:
			return f.failed("move to", target, "returns.move_to", err)
		}
	}
	return allTaken("", name, f.at(to))
}

// moveOver gives a file a free name: the link fails where it is not. A kill between the two
// leaves both names; the file is then moved once more, under the next free name.
func (f Folder) moveOver(from, to string) error {
	if err := f.disk().Link(from, to); err != nil {
		return err
	}
	return f.disk().Remove(from)
}

func (f Folder) at(dir string) string {
	if filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(f.Root, dir)
}

// failed classes an error of this machine's file system.
func (f Folder) failed(op, name, setting string, err error) error {
	e := &Error{Class: BureauPassing, Op: op + " " + name, What: "the file system says no", Do: "see the cause", Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.Class, e.What, e.Do = BureauLasting, "the folder does not exist", "correct "+setting+", or make it"
	case errors.Is(err, fs.ErrPermission):
		e.Class, e.What, e.Do = BureauLasting, "the file system does not permit it", "give this user the right to read it, and to remove or move what returns.after says"
	}
	return e
}

// untilDone ends a read when ctx does.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}

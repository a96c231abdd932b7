package batch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"reemboss/batch/durable"
)

// watchedDisk is the machine's disk with somebody who is asked before each step, and may say no. Steps come from several
// goroutines (what is sealed while it is fetched), so before is called by one at a time.
type watchedDisk struct {
	mu      sync.Mutex
	steps   int
	names   []string
	before  func(step int) error // nil: every step is done
	journal *journalled          // nil: nothing is forgotten
}

// step asks, and then does, with nobody else in between.
func (d *watchedDisk) step(name string, do func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.steps++
	d.names = append(d.names, name)
	if d.before != nil {
		if err := d.before(d.steps); err != nil {
			return err
		}
	}
	return do()
}

func failed(op, path string, err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return &fs.PathError{Op: op, Path: path, Err: errno}
	}
	return err
}

func (d *watchedDisk) CreateTemp(folder, prefix string) (made durable.File, err error) {
	err = d.step("create in "+filepath.Base(folder), func() error {
		f, err := durable.Machine{}.CreateTemp(folder, prefix)
		if err != nil {
			return err
		}
		d.journal.create(f.Name())
		made = &watchedFile{File: f, disk: d}
		return nil
	})
	return made, failed("create", folder, err)
}

func (d *watchedDisk) Rename(from, to string) error {
	return failed("rename", to, d.step("rename to "+filepath.Base(to), func() error {
		d.journal.rename(from, to)
		return durable.Machine{}.Rename(from, to)
	}))
}

func (d *watchedDisk) Link(from, to string) error {
	return failed("link", to, d.step("link to "+filepath.Base(to), func() error {
		d.journal.link(from, to)
		return durable.Machine{}.Link(from, to)
	}))
}

func (d *watchedDisk) RenameNew(from, to string) error {
	return failed("rename", to, d.step("rename to the new "+filepath.Base(to), func() error {
		d.journal.rename(from, to)
		return durable.Machine{}.RenameNew(from, to)
	}))
}

func (d *watchedDisk) Remove(path string) error {
	return failed("remove", path, d.step("remove "+filepath.Base(path), func() error {
		d.journal.remove(path)
		return durable.Machine{}.Remove(path)
	}))
}

func (d *watchedDisk) RemoveIn(root *os.Root, path string) error {
	return failed("remove", path, d.step("remove "+path, func() error {
		d.journal.remove(filepath.Join(root.Name(), path))
		return durable.Machine{}.RemoveIn(root, path)
	}))
}

func (d *watchedDisk) Mkdir(path string) error {
	return failed("mkdir", path, d.step("make folder "+filepath.Base(path), func() error {
		d.journal.touch(path)
		return durable.Machine{}.Mkdir(path)
	}))
}

func (d *watchedDisk) SyncFolder(path string) error {
	return failed("sync", path, d.step("sync folder "+filepath.Base(path), func() error {
		if err := (durable.Machine{}).SyncFolder(path); err != nil {
			return err
		}
		d.journal.syncFolder(path)
		return nil
	}))
}

type watchedFile struct {
	durable.File
	disk *watchedDisk
}

// errShort is a write that ended in its middle because the disk was full.
var errShort = errors.New("short write")

func (f *watchedFile) Write(p []byte) (n int, err error) {
	err = f.disk.step("write", func() error {
		n, err = f.File.Write(p)
		f.disk.journal.write(f.Name(), p[:n])
		return err
	})
	if errors.Is(err, errShort) {
		n, _ = f.File.Write(p[:len(p)/2])
		err = syscall.ENOSPC
	}
	return n, failed("write", f.Name(), err)
}

func (f *watchedFile) Chmod(mode fs.FileMode) error {
	return failed("chmod", f.Name(), f.disk.step("change mode", func() error { return f.File.Chmod(mode) }))
}

func (f *watchedFile) Sync() error {
	return failed("sync", f.Name(), f.disk.step("sync", func() error {
		if err := f.File.Sync(); err != nil {
			return err
		}
		f.disk.journal.sync(f.Name())
		return nil
	}))
}

func (f *watchedFile) Close() error {
	return failed("close", f.Name(), errors.Join(f.disk.step("close", func() error { return nil }), f.File.Close()))
}

// journalled remembers what a machine forgets that loses its power: bytes of files since their last Sync, names of
// folders since theirs. A move from folder to folder is one step, as it is in the journals of ext4, XFS and Btrfs: it
// is never half done. A nil one remembers nothing.
type journalled struct {
	files map[string]*content            // by path: files made through the disk, as they are now
	names map[string]map[string]*content // by folder: names that changed since its last sync → what was durable under them, nil for nothing
	moves [][2]string                    // from one folder to another: one step in the journal of a file system, durable with either of them
}

// content is a file: all its bytes, and how many of them a crash leaves.
type content struct {
	bytes  []byte
	synced int
	folder bool
}

func newJournal() *journalled {
	return &journalled{files: map[string]*content{}, names: map[string]map[string]*content{}}
}

// now is what is under a path, whoever made it. What was not made through the disk is durable.
func (j *journalled) now(path string) *content {
	if c := j.files[path]; c != nil {
		return c
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil
	}
	if info.IsDir() {
		return &content{folder: true}
	}
	bytes, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return &content{bytes: bytes, synced: len(bytes)}
}

// touch remembers what is durable under a name that is about to change.
func (j *journalled) touch(path string) {
	if j == nil {
		return
	}
	folder, name := filepath.Split(path)
	folder = filepath.Clean(folder)
	if j.names[folder] == nil {
		j.names[folder] = map[string]*content{}
	}
	if _, pending := j.names[folder][name]; !pending {
		j.names[folder][name] = j.now(path)
	}
}

func (j *journalled) create(path string) {
	if j == nil {
		return
	}
	folder, name := filepath.Split(path)
	folder = filepath.Clean(folder)
	if j.names[folder] == nil {
		j.names[folder] = map[string]*content{}
	}
	j.names[folder][name], j.files[path] = nil, &content{}
}

func (j *journalled) link(from, to string) {
	if j == nil {
		return
	}
	j.touch(to)
	j.files[to] = j.now(from)
}

func (j *journalled) rename(from, to string) {
	if j == nil {
		return
	}
	moved := j.now(from)
	j.touch(from)
	j.touch(to)
	if moved != nil {
		j.files[to] = moved
	}
	delete(j.files, from)
	if filepath.Dir(from) != filepath.Dir(to) {
		j.moves = append(j.moves, [2]string{from, to})
	}
}

func (j *journalled) remove(path string) {
	if j == nil {
		return
	}
	j.touch(path)
	delete(j.files, path)
}

func (j *journalled) write(path string, p []byte) {
	if j != nil && j.files[path] != nil {
		j.files[path].bytes = append(j.files[path].bytes, p...)
	}
}

func (j *journalled) sync(path string) {
	if j != nil && j.files[path] != nil {
		j.files[path].synced = len(j.files[path].bytes)
	}
}

func (j *journalled) syncFolder(folder string) {
	if j == nil {
		return
	}
	folder = filepath.Clean(folder)
	delete(j.names, folder)
	j.moves = slices.DeleteFunc(j.moves, func(move [2]string) bool {
		done := filepath.Dir(move[0]) == folder || filepath.Dir(move[1]) == folder
		for _, path := range move {
			if done {
				delete(j.names[filepath.Dir(path)], filepath.Base(path))
			}
		}
		return done
	})
}

// clone makes in to what a machine would find of from after it lost its power now: no byte that was not synced and,
// unless names are kept, no name either. SQLite's files are copied as they are (its shared memory, which no crash
// survives, not at all): it syncs its own with synchronous=FULL, and what that is worth is SQLite's to prove.
func (j *journalled) clone(from, to string, keepNames bool) error {
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		case !d.Type().IsRegular(), strings.HasSuffix(path, "-shm"):
			return nil
		}
		bytes, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if made := j.files[path]; made != nil {
			bytes = made.bytes[:made.synced]
		}
		return os.WriteFile(filepath.Join(to, rel), bytes, 0o600)
	})
	if err != nil || keepNames {
		return err
	}
	return j.forget(from, to)
}

// forget puts under each name that was not synced what was there before: first what is back, then what never was.
func (j *journalled) forget(from, to string) error {
	for _, back := range []bool{true, false} {
		for folder, names := range j.names {
			rel, err := filepath.Rel(from, folder)
			if err != nil || !filepath.IsLocal(rel) {
				continue
			}
			for name, was := range names {
				path := filepath.Join(to, rel, name)
				switch {
				case was == nil && !back:
					err = os.RemoveAll(path)
				case was != nil && back && was.folder:
					err = os.MkdirAll(path, 0o700)
				case was != nil && back:
					err = os.WriteFile(path, was.bytes[:was.synced], 0o600)
				}
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

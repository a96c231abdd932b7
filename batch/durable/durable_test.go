package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWriteIsWholeOrNotThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := (Files{}).Write(path, text("one")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	err := (Files{}).Write(path, func(w io.Writer) error {
		if _, err := io.WriteString(w, "half"); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) || read(t, path) != "one" {
		t.Errorf("after a failed write: %v, content %q", err, read(t, path))
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("a failed write left %d files", len(entries))
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; others must not read it", info.Mode(), err)
	}
}

func TestCreateNeverReplaces(t *testing.T) {
	for name, disk := range map[string]Disk{"with links": Machine{}, "without links": withoutLinks{}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "f")
			if err := (Files{disk}).Create(path, text("one")); err != nil {
				t.Fatal(err)
			}
			if err := (Files{disk}).Create(path, text("two")); !errors.Is(err, fs.ErrExist) || read(t, path) != "one" {
				t.Errorf("Create over a file: %v, content %q", err, read(t, path))
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
				t.Errorf("%d files are left, %v", len(entries), err)
			}
		})
	}
}

// withoutLinks is a disk like FAT: no file has two names.
type withoutLinks struct{ Machine }

func (withoutLinks) Link(from, to string) error {
	return &os.LinkError{Op: "link", Old: from, New: to, Err: syscall.EPERM}
}

func TestSweepTakesOnlyWhatHasNoName(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{TempPrefix + "123", "kept"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := (Files{}).Sweep(dir); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != "kept" {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// The folder of the metrics is the node exporter's and may be other workspaces' too: only what an earlier write of the very
// file left goes.
func TestAWriteAmongOthersTakesAwayWhatItsLastOneLeft(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{TempPrefix + "a.prom-123", TempPrefix + "b.prom-123", TempPrefix + "123"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "a.prom")
	if err := (Files{}).WriteAmongOthers(path, 0o644, text("one")); err != nil {
		t.Fatal(err)
	}
	var names []string
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{TempPrefix + "123", TempPrefix + "b.prom-123", "a.prom"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("the folder has %q, want %q (%v)", names, want, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestRemoveOfWhatIsGone(t *testing.T) {
	if err := (Files{}).Remove(filepath.Join(t.TempDir(), "nothing")); err != nil {
		t.Error(err)
	}
}

func TestRemoveAllTakesWhatIsBelow(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "a")
	if err := os.MkdirAll(filepath.Join(folder, "b", "c"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"1", "b/2", "b/c/3"} {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(dir, filepath.Join(folder, "out")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kept"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // what is gone is gone
		if err := (Files{}).RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 || entries[0].Name() != "kept" {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestLinkNeverReplaces(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := (Files{}).Write(from, text("one")); err != nil {
		t.Fatal(err)
	}
	if err := (Files{}).Link(from, to); err != nil || read(t, to) != "one" {
		t.Fatal(err)
	}
	if err := (Files{}).Link(from, to); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Link over a file: %v", err)
	}
}

// counted is a disk that names its steps.
type counted struct {
	Machine
	steps []string
}

func (c *counted) CreateTemp(folder, prefix string) (File, error) {
	c.steps = append(c.steps, "create")
	f, err := c.Machine.CreateTemp(folder, prefix)
	return countedFile{f, c}, err
}

func (c *counted) Rename(from, to string) error {
	c.steps = append(c.steps, "rename")
	return c.Machine.Rename(from, to)
}

func (c *counted) SyncFolder(path string) error {
	c.steps = append(c.steps, "sync folder")
	return c.Machine.SyncFolder(path)
}

type countedFile struct {
	File
	c *counted
}

func (f countedFile) Write(p []byte) (int, error) {
	f.c.steps = append(f.c.steps, "write")
	return f.File.Write(p)
}

func (f countedFile) Sync() error {
	f.c.steps = append(f.c.steps, "sync")
	return f.File.Sync()
}

func (f countedFile) Close() error {
	f.c.steps = append(f.c.steps, "close")
	return f.File.Close()
}

// Bytes are durable before they have a name, and the name before anybody is told.
func TestTheStepsOfAWriteAndTheirOrder(t *testing.T) {
	disk := new(counted)
	if err := (Files{Disk: disk}).Write(filepath.Join(t.TempDir(), "f"), text("one")); err != nil {
		t.Fatal(err)
	}
	if want := []string{"create", "write", "sync", "close", "rename", "sync folder"}; !slices.Equal(disk.steps, want) {
		t.Errorf("the steps are %q, want %q", disk.steps, want)
	}
}

func TestAModeOfItsOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := (Files{}).WriteMode(path, 0o644, text("one")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// What is removed in a root stays in it, whatever links lie on the way.
func TestRemoveInFollowsNoLinkOut(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	victim := filepath.Join(outside, "f")
	if err := errors.Join(os.WriteFile(victim, nil, 0o600), os.Symlink(outside, filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := (Files{}).RemoveIn(root, "link/f"); err == nil {
		t.Error("it was followed")
	}
	if _, err := os.Lstat(victim); err != nil {
		t.Error(err)
	}
}

// What keeps a file from a folder is told of that folder alone, the others are tried all the same, and nothing is left.
func TestMovesAreTriedThereAndBack(t *testing.T) {
	dir := t.TempDir()
	home, free, closed := filepath.Join(dir, "home"), filepath.Join(dir, "free"), filepath.Join(dir, "closed")
	if err := errors.Join(os.Mkdir(home, 0o700), os.Mkdir(free, 0o700), os.WriteFile(filepath.Join(free, probeName), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	kept, err := Files{}.TryMoves(home, closed, free)
	if err != nil || len(kept) != 1 || !errors.Is(kept[closed], fs.ErrNotExist) {
		t.Errorf("kept %v, %v", kept, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*", ".*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if _, err := (Files{}).TryMoves(closed, free); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a home: %v", err)
	}
}

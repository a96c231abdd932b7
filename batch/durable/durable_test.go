package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
	path := filepath.Join(t.TempDir(), "f")
	if err := (Files{}).Create(path, text("one")); err != nil {
		t.Fatal(err)
	}
	if err := (Files{}).Create(path, text("two")); !errors.Is(err, fs.ErrExist) || read(t, path) != "one" {
		t.Errorf("Create over a file: %v, content %q", err, read(t, path))
	}
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

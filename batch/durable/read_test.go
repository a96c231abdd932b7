package durable

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestOpenOpensFilesOnly(t *testing.T) {
	dir, err := os.MkdirTemp("", "open") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	at := func(name string) string { return filepath.Join(dir, name) }
	err = errors.Join(os.WriteFile(at("file"), []byte("x"), 0o600), os.Symlink("file", at("link")), os.Symlink("pipe", at("link to a pipe")),
		syscall.Mkfifo(at("pipe"), 0o600), os.Symlink("nowhere", at("broken")))
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	for path, kind := range map[string]string{at("pipe"): "a pipe", at("link to a pipe"): "a pipe", at("socket"): "a socket", dir: "a folder", "/dev/zero": "a device"} {
		f, err := Open(path)
		var no *NotFileError
		if f != nil || !errors.As(err, &no) || no.Kind != kind || no.Path != path {
			t.Errorf("%s: %v, want %s", path, err, kind)
		}
	}
	for _, name := range []string{"file", "link"} {
		f, err := Open(at(name))
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(f); err != nil || string(text) != "x" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
		f.Close()
	}
	if _, err := Open(at("broken")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a link to nothing: %v", err)
	}
}

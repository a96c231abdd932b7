package durable

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// NotFileError says that there is something at a path, and that it is no file.
type NotFileError struct {
	Path string
	Kind string // "a folder", "a pipe", "a socket", "a device"
}

func (e *NotFileError) Error() string {
	return "it is " + e.Kind + ", and no file; name the file itself"
}

// Open opens a file for reading, by whatever links a path leads to it. What is
// no file is a [*NotFileError] and is not opened: a pipe would be waited for, a
// device read, without end. What takes a file's place while it is opened is
// not waited for either. Other errors are those of package os.
func Open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &NotFileError{path, kindOf(info.Mode())}
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.EAGAIN) { // a file server has lent it to a client and takes it back
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil && !info.Mode().IsRegular() {
		err = &NotFileError{path, kindOf(info.Mode())}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

package batch

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// userOf is the user id that a file belongs to, where the system tells.
func userOf(info fs.FileInfo) (uid int, known bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}

// access asks the kernel whether this process, by its effective ids, may read (4), write (2) or enter (1) a path.
func access(path string, how uint32) error {
	if err := unix.Faccessat(unix.AT_FDCWD, path, how, unix.AT_EACCESS); err != nil {
		return &fs.PathError{Op: "access", Path: path, Err: err}
	}
	return nil
}

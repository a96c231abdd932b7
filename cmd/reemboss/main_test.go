package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The test binary is also the program: run under the name reemboss it is
// reemboss, so that tests start, kill and measure a process of its own. Only
// here can it be told what to do at the named points of the night:
//
//	REEMBOSS_POINTS=file      adds every point that is passed to the file, a line each
//	REEMBOSS_KILL_AT=point    ends the process with SIGKILL at the point
//	REEMBOSS_STOP_AT=point    sends it SIGTERM at the point and goes on
//	REEMBOSS_PAUSE_AT=point   waits at the point until the pipe on standard input is closed
//	REEMBOSS_UID=number       becomes this account first, where the tests run as root
//	REEMBOSS_FILE_LIMIT=size  can make no file longer than so many bytes
//
// Its single steps, of the disk, the ledger and the network, are counted in operations_test.go.
//
// A point is a name given to Night.at, for the first time that the process comes
// there, or "name#2" for the second.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"reemboss": program, "unhardened": unhardened})
}

// unhardened is a program of the same binary that forbids itself nothing; it waits at its one point.
func unhardened() {
	checkpoint()("unhardened")
}

func program() {
	if err := becomeAccount(os.Getenv("REEMBOSS_UID")); err != nil {
		fmt.Fprintln(os.Stderr, "become an account without rights:", err)
		os.Exit(exitFault)
	}
	if err := limitFiles(os.Getenv("REEMBOSS_FILE_LIMIT")); err != nil {
		fmt.Fprintln(os.Stderr, "limit the size of files:", err)
		os.Exit(exitFault)
	}
	reached, end := seams()
	code := run(os.Args[1:], os.Stdout, os.Stderr, reached)
	if err := end(); err != nil {
		fmt.Fprintln(os.Stderr, "name the operations:", err)
		os.Exit(exitFault)
	}
	os.Exit(code)
}

// checkpoint gives what the environment asks for; nil when it asks for nothing.
func checkpoint() func(string) {
	record, kill, stop, pause := os.Getenv("REEMBOSS_POINTS"), os.Getenv("REEMBOSS_KILL_AT"), os.Getenv("REEMBOSS_STOP_AT"), os.Getenv("REEMBOSS_PAUSE_AT")
	if record+kill+stop+pause == "" {
		return nil
	}
	times := map[string]int{}
	return func(name string) {
		times[name]++
		point := pointName(name, times[name])
		if record != "" {
			recordPoint(record, point)
		}
		switch point {
		case kill:
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until the signal is there
		case stop:
			_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
			time.Sleep(50 * time.Millisecond) // a signal to oneself arrives in its own time, and nothing here can see it arrive
		case pause:
			_, _ = os.Stdin.Read(make([]byte, 1))
		}
	}
}

// becomeAccount gives up root's rights for those of a user id; it does nothing where there are none to give up.
func becomeAccount(uid string) error {
	if uid == "" || os.Geteuid() != 0 {
		return nil
	}
	id, err := strconv.Atoi(uid)
	if err != nil {
		return err
	}
	return errors.Join(syscall.Setgroups(nil), syscall.Setgid(id), syscall.Setuid(id))
}

// limitFiles makes each write past a size fail in this process, for machines where a test may not mount a small disk.
func limitFiles(size string) error {
	if size == "" {
		return nil
	}
	limit, err := strconv.ParseUint(size, 10, 64)
	if err != nil {
		return err
	}
	signal.Ignore(syscall.SIGXFSZ) // the write fails instead
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: limit, Max: limit})
}

// nobody is an account that owns nothing else (Debian's nobody).
const nobody = 65534

// giveAway makes everything below dir nobody's, and lets that account find it; as any other account than root it does nothing.
func giveAway(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	for above := dir; above != filepath.Dir(above); above = filepath.Dir(above) {
		info, err := os.Stat(above)
		if err == nil && info.Mode().Perm()&0o001 == 0 {
			err = os.Chmod(above, info.Mode().Perm()|0o011)
		}
		if err != nil {
			return err
		}
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, nobody, nobody)
	})
}

// pointName is name for the first time, name#2 for the second …
func pointName(name string, time int) string {
	if time == 1 {
		return name
	}
	return fmt.Sprintf("%s#%d", name, time)
}

func recordPoint(path, point string) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = fmt.Fprintln(f, point)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "record the points of the night:", err)
		os.Exit(exitFault)
	}
}

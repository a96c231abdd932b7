package main

import (
	"os"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The test binary is also the program: run under the name reemboss it is
// reemboss, so that tests start, kill and measure a process of its own. Only
// here can it be told, by REEMBOSS_KILL_AT, to end itself with SIGKILL at a
// named point of the night.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"reemboss": program})
}

func program() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr, killAt(os.Getenv("REEMBOSS_KILL_AT"))))
}

// killAt gives a checkpoint that kills the process when it comes to point for the first time.
func killAt(point string) func(string) {
	if point == "" {
		return nil
	}
	return func(at string) {
		if at == point {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until the signal is there
		}
	}
}

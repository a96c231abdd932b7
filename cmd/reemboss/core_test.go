package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// waitingAt starts a program that waits at a point until the pipe is closed, with everything asked for that would give a
// core: no limit of its size. What it says there is in said once the process has ended and was waited for.
func (w *workspace) waitingAt(program, point, env string, args ...string) (cmd *exec.Cmd, hold io.Closer, said *bytes.Buffer) {
	w.tb.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		w.tb.Fatal(err)
	}
	seen := filepath.Join(w.tb.TempDir(), "points")
	cmd = exec.Command("/bin/sh", append([]string{"-c", `ulimit -c unlimited 2>/dev/null || ulimit -c "$(ulimit -H -c)"; exec "$0" "$@"`, path}, args...)...)
	cmd.Dir = w.Dir
	cmd.Env = append(os.Environ(), env, "REEMBOSS_PAUSE_AT="+point, "REEMBOSS_POINTS="+seen)
	said = new(bytes.Buffer)
	cmd.Stderr = said
	if hold, err = cmd.StdinPipe(); err != nil {
		w.tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.tb.Fatal(err)
	}
	waitFor(w.tb, "the point "+point, func() bool {
		text, _ := os.ReadFile(seen) // not there yet
		return bytes.Contains(text, []byte(point))
	})
	return cmd, hold, said
}

// crashedAt sends a program that waits at a point a signal there, with a runtime that crashes as a C program does.
func (w *workspace) crashedAt(program, point string, signal syscall.Signal, args ...string) (status syscall.WaitStatus, complaints string) {
	w.tb.Helper()
	cmd, hold, said := w.waitingAt(program, point, "GOTRACEBACK=crash", args...)
	defer hold.Close()
	if err := cmd.Process.Signal(signal); err != nil {
		w.tb.Fatal(err)
	}
	_ = cmd.Wait()
	return cmd.ProcessState.Sys().(syscall.WaitStatus), said.String()
}

// cores are the files below a folder that look like a core.
func cores(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasPrefix(d.Name(), "core") {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Card data is in memory in the middle of a night. A crash there, forced with all that makes a core, leaves none: the
// kernel says so in the process's end, whatever it would do with a core (core_pattern), and there is no file. The same
// crash of a program that is not hardened does, wherever this machine permits cores at all.
func TestACrashInTheMiddleOfANightWritesNoCore(t *testing.T) {
	prepared := newWorkspace(t)
	prepared.realisticNight()
	for _, signal := range []syscall.Signal{syscall.SIGABRT, syscall.SIGSEGV, syscall.SIGQUIT} {
		t.Run(signal.String(), func(t *testing.T) {
			w := prepared.copyOf(t)
			status, said := w.crashedAt("reemboss", "write/sealed", signal, "--dir", w.Dir, "run")
			if !status.Signaled() {
				t.Fatalf("it did not crash: exit %d\n%s", status.ExitStatus(), said)
			}
			if status.CoreDump() {
				t.Error("the kernel wrote a core")
			}
			if found := cores(t, w.Dir); len(found) > 0 {
				t.Errorf("there are %v", found)
			}
			bare, said := w.crashedAt("unhardened", "unhardened", signal)
			if !bare.Signaled() {
				t.Fatalf("the program that is not hardened did not crash: exit %d\n%s", bare.ExitStatus(), said)
			}
			t.Logf("hardened: core %v; not hardened: core %v", status.CoreDump(), bare.CoreDump())
			if permitted := coresPermitted(t, w.Dir); bare.CoreDump() != permitted {
				t.Errorf("not hardened: core %v, and a shell's crash says %v: the comparison proves nothing", bare.CoreDump(), permitted)
			}
			if w.start(nil, "--dir", w.Dir, "run").exit == exitFault {
				t.Error("the night does not go on after the crash")
			}
		})
	}
}

// coresPermitted says whether this machine writes a core of any program that asks for it.
func coresPermitted(t *testing.T, dir string) bool {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", `ulimit -c unlimited 2>/dev/null || ulimit -c "$(ulimit -H -c)"; kill -ABRT $$`)
	cmd.Dir = dir
	_ = cmd.Run()
	return cmd.ProcessState.Sys().(syscall.WaitStatus).CoreDump()
}

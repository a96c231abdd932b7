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

// crashedAt starts a program that waits at a point and sends it a signal there,
// with everything asked for that would give a core: no limit of its size, and a
// runtime that crashes as a C program does.
func (w *workspace) crashedAt(program, point string, signal syscall.Signal, args ...string) (status syscall.WaitStatus, complaints string) {
	w.tb.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		w.tb.Fatal(err)
	}
	seen := filepath.Join(w.tb.TempDir(), "points")
	cmd := exec.Command("/bin/sh", append([]string{"-c", `ulimit -c unlimited 2>/dev/null || ulimit -c "$(ulimit -H -c)"; exec "$0" "$@"`, path}, args...)...)
	cmd.Dir = w.Dir
	cmd.Env = append(os.Environ(), "GOTRACEBACK=crash", "REEMBOSS_PAUSE_AT="+point, "REEMBOSS_POINTS="+seen)
	var said bytes.Buffer
	cmd.Stderr = &said
	hold, err := cmd.StdinPipe() // closed: the program would go on
	if err != nil {
		w.tb.Fatal(err)
	}
	ready, err := cmd.StdoutPipe()
	if err != nil {
		w.tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.tb.Fatal(err)
	}
	defer hold.Close()
	waitFor(w.tb, "the point "+point, func() bool {
		text, _ := os.ReadFile(seen) // not there yet
		return bytes.Contains(text, []byte(point))
	})
	if err := cmd.Process.Signal(signal); err != nil {
		w.tb.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, ready)
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

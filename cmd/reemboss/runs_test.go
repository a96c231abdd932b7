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
	"time"
)

// running is a process of the program that waits at a point until hold is closed.
type running struct {
	w               *workspace
	cmd             *exec.Cmd
	hold            io.WriteCloser
	points          string // file of the points that it has passed
	out, complaints *bytes.Buffer
	done            chan error
}

// begin starts a run that will wait at the point, and does not wait for it.
func (w *workspace) begin(point string) *running {
	w.tb.Helper()
	p := &running{w: w, points: filepath.Join(w.tb.TempDir(), "points"), done: make(chan error, 1)}
	p.cmd, p.out, p.complaints = w.command([]string{"REEMBOSS_PAUSE_AT=" + point, "REEMBOSS_POINTS=" + p.points}, "--dir", w.Dir, "run", "--json")
	var err error
	if p.hold, err = p.cmd.StdinPipe(); err != nil {
		w.tb.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		w.tb.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	return p
}

// hanging starts a run that hangs at the point: it holds the lock, hears nothing, and ends by SIGKILL only.
func (w *workspace) hanging(point string) *running {
	w.tb.Helper()
	p := w.begin(point)
	waitFor(w.tb, point, func() bool {
		passed, _ := os.ReadFile(p.points) // there once it has passed the first
		return strings.Contains("\n"+string(passed), "\n"+point+"\n")
	})
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		w.tb.Fatal(err)
	}
	return p
}

// end gives how the process ended, once it has.
func (p *running) end() ended {
	p.w.tb.Helper()
	return p.w.ended(p.cmd, <-p.done, p.out, p.complaints)
}

// Two runs of one moment: one works the night, the other says in one sentence that it does, and ends with 3. No row is done twice.
func TestTwoRunsStartedTogether(t *testing.T) {
	prepared := newWorkspace(t)
	prepared.smallNight()
	for range 4 {
		w := prepared.copyOf(t)
		works, waits := w.begin("stage/intake"), w.begin("stage/intake")
		var r ended
		select {
		case err := <-works.done:
			r = w.ended(works.cmd, err, works.out, works.complaints)
			works = waits
		case err := <-waits.done:
			r = w.ended(waits.cmd, err, waits.out, waits.complaints)
		case <-time.After(time.Minute):
			t.Fatal("both runs go on")
		}
		if r.exit != exitLocked || len(r.stdout) > 0 || bytes.Count(r.stderr, []byte("\n")) != 1 || !bytes.Contains(r.stderr, []byte("another run is working")) {
			t.Errorf("the second run ends with %d and says %s%s", r.exit, r.stdout, r.stderr)
		}
		if err := works.hold.Close(); err != nil {
			t.Fatal(err)
		}
		night := told(t, works.end())
		if night.ExitCode != exitComplete || night.Starts != 1 || night.Read != 6 {
			t.Errorf("exit %d, %d starts, %d rows read", night.ExitCode, night.Starts, night.Read)
		}
		balanced(t, night)
		cards := w.delivered()
		if len(cards) != 6 {
			t.Errorf("%d cards were delivered, want 6", len(cards))
		}
		w.sequencesHaveNoGap(cards)
		w.nothingMore()
	}
}

// The last run hangs and somebody starts the next, or would import cards: they are told so and change nothing, and the
// status can be looked at. When the one that hangs is killed, the next finishes its night.
func TestARunBesideOneThatHangs(t *testing.T) {
	prepared, requests := killNight(t)
	prepared.program = withoutRaceDetector(t)
	quiet := prepared.copyOf(t)
	quiet.points()
	want := lastReport(t, quiet.Dir)
	for _, point := range []string{"intake/renamed#3", "decide/commit#2", "write/bytes", "sent/UPLOADED", "send/SENT#2", "reconcile/finish"} {
		t.Run(strings.ReplaceAll(point, "/", ":"), func(t *testing.T) {
			t.Parallel()
			w := prepared.copyOf(t)
			hangs := w.hanging(point)
			before := w.files("inbox", "outbox", "simulator", "done", "refused", "reports")
			w.do(exitLocked, "run")
			w.do(exitLocked, "cards", "import", w.Config())
			w.do(exitComplete, "status")
			sameFiles(t, "beside the run that hangs", before, w.files("inbox", "outbox", "simulator", "done", "refused", "reports"))
			if err := hangs.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if r := hangs.end(); !r.killed {
				t.Fatalf("exit %d\n%s", r.exit, r.stderr)
			}
			w.night(exitPerson)
			w.holds(requests, want)
			w.nothingMore()
		})
	}
}

// The lock is the kernel's, and ends with the process that has it: a file of that name, whoever left it, locks nobody out.
func TestALockFileThatADeadProcessLeft(t *testing.T) {
	for name, leave := range map[string]func(w *workspace) error{
		"another host's":     func(w *workspace) error { return os.WriteFile(w.LockFile(), []byte("4711 other-host\n"), 0o600) },
		"of before the boot": func(w *workspace) error { return os.Chtimes(w.LockFile(), time.Time{}, time.Unix(0, 0)) },
		"read-only":          func(w *workspace) error { return os.Chmod(w.LockFile(), 0o400) },
		"gone":               func(w *workspace) error { return os.Remove(w.LockFile()) },
		"with what another boot shared of the ledger": func(w *workspace) error {
			return os.WriteFile(w.LedgerFile()+"-shm", bytes.Repeat([]byte{0xa5}, 32<<10), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkspace(t)
			w.smallNight()
			w.killed("write/planned")
			if err := leave(w); err != nil {
				t.Fatal(err)
			}
			if r := w.night(exitComplete); r.Starts != 2 || r.Read != 6 {
				t.Errorf("%d starts, %d rows read", r.Starts, r.Read)
			}
			w.sequencesHaveNoGap(w.delivered())
			w.nothingMore()
		})
	}
}

// A lock file that this account may not open is told as what it is: not as another run, not as a fault of ours.
func TestALockFileOfAnotherAccount(t *testing.T) {
	w := newWorkspace(t)
	w.smallNight()
	w.night(exitComplete)
	if err := os.Chmod(w.LockFile(), 0); err != nil {
		t.Fatal(err)
	}
	r := w.startOrdinary("--dir", w.Dir, "run")
	if r.exit != exitUsage || !bytes.Contains(r.stderr, []byte("state/lock")) || !bytes.Contains(r.stderr, []byte("permission denied")) {
		t.Errorf("exit %d\n%s", r.exit, r.stderr)
	}
}

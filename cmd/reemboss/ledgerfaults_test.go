package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"reemboss/testdata/proof"
)

// needStrace is for tests in which the kernel says no, or strace says it in its name.
func needStrace(t *testing.T) {
	t.Helper()
	needReal(t, "strace")
	if out, err := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "true").CombinedOutput(); err != nil {
		t.Skipf("strace cannot trace here: %v\n%s", err, out)
	}
}

// strace is a fault that strace puts into some system calls of the program: "fsync,fdatasync:error=EIO:when=3" the third
// of each thread, "when=3+" that and all after it.
type strace struct {
	calls, fault string
	every        int // of the calls that a night makes every which one is tried
}

// traced runs the night with these calls traced, and with the faults if there are any. Only calls on the paths count,
// where some are given. struck says that a fault came to pass.
func (w *workspace) traced(t *testing.T, calls, inject string, paths ...string) (r ended, trace []byte, struck bool) {
	t.Helper()
	list := filepath.Join(t.TempDir(), "trace")
	w.under = []string{"strace", "-f", "-qq", "-o", list, "-e", "trace=" + calls}
	for _, path := range paths {
		w.under = append(w.under, "-P", path)
	}
	if inject != "" {
		w.under = append(w.under, "-e", "inject="+inject)
	}
	r = w.meetsBureaus(t, "GOMAXPROCS=1") // one thread works, so that a count means about the same each time
	w.under = nil
	trace, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	return r, trace, r.killed || bytes.Contains(trace, []byte("(INJECTED)"))
}

// injections are the faults at all their places: as often as the busiest thread of an undisturbed night makes such a call.
func (c *crashes) injections(t *testing.T, faults []strace, paths func(w *workspace) []string) (all [][2]string) {
	t.Helper()
	most := map[string]int{}
	for _, f := range faults {
		if most[f.calls] == 0 {
			w := c.prepared.copyOf(t)
			_, trace, _ := w.traced(t, f.calls, "", paths(w)...)
			most[f.calls] = busiest(trace)
		}
		if most[f.calls] < 10 {
			t.Fatalf("a night makes %d calls of %s", most[f.calls], f.calls)
		}
		for n := 1; n <= most[f.calls]; n += f.every {
			all = append(all, [2]string{f.calls, f.calls + ":" + fmt.Sprintf(f.fault, n)})
		}
	}
	return all
}

// busiest is how many calls the thread makes that makes most of them.
func busiest(trace []byte) (most int) {
	threads := map[string]int{}
	for line := range strings.Lines(string(trace)) {
		thread, call, _ := strings.Cut(line, " ")
		if call = strings.TrimSpace(call); strings.Contains(call, "(") && !strings.HasPrefix(call, "<") { // not the rest of one that was told before
			threads[thread]++
			most = max(most, threads[thread])
		}
	}
	return most
}

// The files of the ledger are SQLite's, and its driver has no seam: so its system calls on them fail, or are the last of the process.
func TestSystemCallsOfTheLedgerFail(t *testing.T) {
	needStrace(t)
	count := proof.Of(t, "fault points")
	c := prepareCrashes(t)
	files := func(w *workspace) []string { return []string{w.LedgerFile(), w.LedgerFile() + "-wal"} }
	const writes, syncs, reads = "pwrite64", "fsync,fdatasync", "pread64"
	for _, inject := range proof.Chosen(c.injections(t, []strace{
		{writes, "error=EIO:when=%d", 16}, {writes, "error=ENOSPC:when=%d+", 16}, {writes, "signal=KILL:when=%d", 16},
		{syncs, "error=EIO:when=%d", 1}, {syncs, "signal=KILL:when=%d", 1}, {reads, "error=EIO:when=%d", 16}, {reads, "error=EIO:when=%d+", 16},
	}, files)) {
		count.Try(t, inject[1], func(t *testing.T) {
			w := c.prepared.copyOf(t)
			r, _, struck := w.traced(t, inject[0], inject[1], files(w)...)
			if !struck {
				count.Missed()
			}
			w.nothingClear(w.delivered())
			ended := len(w.glob("reports/"+c.want.RunID+"/reconciliation.json")) == 1
			switch {
			case r.killed, r.exit == exitFault:
			case r.exit != c.exit:
				t.Fatalf("exit %d\n%s%s", r.exit, r.stdout, r.stderr)
			case !ended && !bytes.Contains(r.stderr, []byte("look at the disk")): // SQLite calls a page that cannot be read a damaged one
				t.Errorf("it stops and does not say that it may be the disk: %s", r.stderr)
			}
			if r.exit == c.exit && ended && w.books() != c.books {
				c.endsTold(t, w)
				return
			}
			c.ends(t, w)
		})
	}
}

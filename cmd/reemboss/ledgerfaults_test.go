package main

import (
	"fmt"
	"os/exec"
	"sync/atomic"
	"testing"

	"reemboss/testdata/proof"
)

// The files of the ledger are SQLite's, and its driver has no seam: so the kernel says no, or strace says it in its
// name. Counted are the calls on these files, of each thread.
func TestSystemCallsOfTheLedgerFail(t *testing.T) {
	needReal(t, "strace")
	if out, err := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "true").CombinedOutput(); err != nil {
		t.Skipf("strace cannot trace here: %v\n%s", err, out)
	}
	count := proof.Of(t, "fault points")
	c := prepareCrashes(t)
	var struck atomic.Int32
	t.Cleanup(func() {
		if struck.Load() == 0 {
			t.Error("no fault came to pass")
		}
		t.Logf("%d of them stopped the night", struck.Load())
	})
	const last = 320
	var injections []string
	for _, fault := range []string{
		"pwrite64:error=EIO:when=%d", "pwrite64:error=ENOSPC:when=%d+", "pwrite64:signal=KILL:when=%d",
		"fsync,fdatasync:error=EIO:when=%d", "fsync,fdatasync:signal=KILL:when=%d",
	} {
		for n := 1; n <= last; n += 8 {
			if fault[0] == 'f' && n > last/2 {
				break // there are fewer of them
			}
			injections = append(injections, fmt.Sprintf(fault, n))
		}
	}
	for _, inject := range proof.Chosen(injections) {
		count.Try(t, inject, func(t *testing.T) {
			w := c.prepared.copyOf(t)
			w.under = []string{"strace", "-f", "-qq", "-o", "/dev/null", "-P", w.LedgerFile(), "-P", w.LedgerFile() + "-wal", "-e", "trace=pwrite64,fsync,fdatasync", "-e", "inject=" + inject}
			// One thread works, so that a count means the same each time.
			r := w.meetsBureaus(t, "GOMAXPROCS=1")
			w.under = nil
			if !r.killed && r.exit != exitFault && r.exit != c.exit {
				t.Fatalf("exit %d\n%s%s", r.exit, r.stdout, r.stderr)
			}
			if r.exit != c.exit {
				struck.Add(1)
			}
			w.nothingClear(w.delivered())
			if r.exit == c.exit && w.books() != c.books {
				c.endsTold(t, w)
				return
			}
			c.ends(t, w)
		})
	}
}

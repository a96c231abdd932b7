package batch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"reemboss/testdata/proof"
)

// diskFault is what a disk says instead of doing a step.
type diskFault struct {
	name    string
	err     error
	lasting bool // from that step on, every one
}

func diskFaults() (all []diskFault) {
	for _, lasting := range []bool{false, true} {
		all = append(all, diskFault{"no space", syscall.ENOSPC, lasting}, diskFault{"i/o error", syscall.EIO, lasting},
			diskFault{"no permission", syscall.EACCES, lasting}, diskFault{"short write", errShort, lasting})
	}
	return all
}

func (f diskFault) String() string {
	if f.lasting {
		return f.name + " from then on"
	}
	return f.name
}

// at gives a disk with the fault at its n-th step; a short write elsewhere than in a write is a full disk.
func (f diskFault) at(n int) *watchedDisk {
	d := &watchedDisk{}
	d.before = func(step int) error {
		switch {
		case step != n && (step < n || !f.lasting):
			return nil
		case f.err == errShort && d.names[step-1] != "write":
			return syscall.ENOSPC
		}
		return f.err
	}
	return d
}

// Whatever the disk says to whichever step, once or from then on: the night ends with an error that names the cause, or
// comes to its end and tells a person; it never panics. The next one, on a sound disk, ends as if nothing had happened.
func TestEveryStepOfTheDiskFails(t *testing.T) {
	count := proof.Of(t, "fault points")
	w := prepareNight(t)
	quiet, err := w.copyTo(t).night(nil)
	if err != nil {
		t.Fatal(err)
	}
	type place struct {
		diskFault
		step int
	}
	var places []place
	for n := 1; n <= len(w.steps); n++ {
		for _, fault := range diskFaults() {
			if fault.err != errShort || w.steps[n-1] == "write" {
				places = append(places, place{fault, n})
			}
		}
	}
	for _, p := range proof.Chosen(places) {
		count.Try(t, fmt.Sprintf("%s at %d: %s", p, p.step, w.steps[p.step-1]), func(t *testing.T) {
			c := w.copyTo(t)
			result, err := c.night(p.at(p.step))
			c.endsTold(result, err, quiet)
			c.nothingClear()
			if err != nil {
				w.ends(t, c)
				return
			}
			// It went on without what the disk refused, a return file say: that is done a night later, and its cards are told of in other files.
			c.now = c.now.Add(time.Second)
			if _, err := c.night(nil); err != nil {
				t.Fatalf("the next run: %v", err)
			}
			w.stillKept(c)
		})
	}
}

// endsTold wants a clean error, or a report that says what one of the night without the fault does not say.
func (w *wholeNight) endsTold(result *Result, err error, quiet *Result) {
	w.Helper()
	if err != nil {
		if clearNumber(err.Error()) != "" || strings.TrimSpace(err.Error()) == "" {
			w.Error("5, 7: the error holds a card number, or nothing")
		}
		return
	}
	said := func(r *Result) (all []string) {
		for _, need := range r.NeedsPerson {
			all = append(all, need.What+": "+need.Why)
		}
		return slices.Concat(all, r.Notes, r.Warnings)
	}
	before := said(quiet)
	if !slices.ContainsFunc(said(result), func(s string) bool { return !slices.Contains(before, s) }) || result.Exit != 4 {
		w.Errorf("7: it came to its end with exit %d, and nobody is told of the fault", result.Exit)
	}
}

// A disk that is full from the start: no night begins, and nothing is touched.
func TestADiskFullFromTheStart(t *testing.T) {
	w := prepareNight(t)
	c := w.copyTo(t)
	before := c.contents("inbox", "simulator", "outbox", "keys")
	for range 2 {
		if result, err := c.night(diskFault{"", syscall.ENOSPC, true}.at(1)); err == nil {
			t.Errorf("exit %d", result.Exit)
		} else if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("it does not say that the disk is full: %v", err)
		}
	}
	for path, content := range c.contents("outbox", "simulator", "keys") {
		if before[path] != content {
			t.Errorf("%s changed", path)
		}
	}
	w.ends(t, c)
}

// The inbox is on a file system of its own far away, and goes at any stage of the night: what was taken is worked, what
// was not is taken when the inbox is there again.
func TestTheInboxVanishesAtAnyStage(t *testing.T) {
	w := prepareNight(t)
	quiet, err := w.copyTo(t).night(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, point := range []string{"stage/collect", "stage/intake", "intake/looked", "intake/claiming", "intake/renamed", "stage/decide", "stage/write", "stage/send", "stage/reconcile"} {
		for _, unreadable := range []bool{false, true} {
			if unreadable && !strings.HasPrefix(point, "stage/") {
				continue
			}
			t.Run(fmt.Sprintf("%s unreadable %v", strings.ReplaceAll(point, "/", ":"), unreadable), func(t *testing.T) {
				t.Parallel()
				c := w.copyTo(t)
				gone := false
				result, err := c.night(nil, func(n *Night) {
					n.Checkpoint = func(p string) {
						if p == point && !gone {
							gone = true
							c.vanish(unreadable)
						}
					}
				})
				if !gone {
					t.Fatal("the night does not come there")
				}
				if point == "stage/collect" || point == "stage/intake" { // later, a file that is gone was taken back by its sender
					c.endsTold(result, err, quiet)
				}
				c.comeBack(unreadable)
				if _, err := c.night(nil); err != nil {
					t.Fatal(err)
				}
				c.answeredOnce()
			})
		}
	}
}

// vanish takes the inbox away: its folder, or what it is (root reads any folder).
func (w *wholeNight) vanish(unreadable bool) {
	w.Helper()
	err := os.Rename(w.Inbox(), w.Inbox()+".away")
	if err == nil && unreadable {
		err = os.WriteFile(w.Inbox(), nil, 0) // a mount point whose file system does not answer is no folder any more
	}
	if err != nil {
		w.Fatal(err)
	}
}

func (w *wholeNight) comeBack(unreadable bool) {
	w.Helper()
	var err error
	if unreadable {
		err = os.Remove(w.Inbox())
	} else if _, there := os.Lstat(w.Inbox()); there == nil { // made anew, and empty
		err = os.RemoveAll(w.Inbox())
	}
	if err == nil {
		err = os.Rename(w.Inbox()+".away", w.Inbox())
	}
	if err != nil {
		w.Fatal(err)
	}
}

// answeredOnce: each request file has its place and one answer a row, and each order is in one file.
func (w *wholeNight) answeredOnce() {
	w.Helper()
	w.requestsKept()
	for name := range w.requests {
		if results := w.lies("done/*/"+name+".result.csv", "refused/*/"+name+".result.csv"); len(results) != 1 {
			w.Errorf("8: %s is answered in %q", name, results)
		}
	}
	n := w.open()
	w.filesKept(n)
	if err := n.Close(); err != nil {
		w.Fatal(err)
	}
	w.nothingClear()
	if left, _ := filepath.Glob(filepath.Join(w.Intake(), "*")); len(left) > 0 {
		w.Errorf("8: left in state/intake: %d", len(left))
	}
}

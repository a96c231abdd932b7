package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"reemboss/testdata/proof"
)

// smallDisk is a disk of its own for a workspace: a file system in memory where the tests may mount one, as root; elsewhere a limit on the
// size of files, which ends in the same errors at other places.
type smallDisk struct {
	t    *testing.T
	dir  string
	own  bool     // a file system is mounted at dir
	env  []string // of a process that works on it while it is full
	fill string
}

const smallDiskSize = 32 << 20

func newSmallDisk(t *testing.T) *smallDisk {
	t.Helper()
	d := &smallDisk{t: t, dir: t.TempDir()}
	err := syscall.Mount("reemboss-test", d.dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", smallDiskSize))
	if d.own = err == nil; d.own {
		t.Cleanup(func() { _ = syscall.Unmount(d.dir, syscall.MNT_DETACH) })
	} else if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EACCES) {
		t.Fatalf("mount a small disk: %v", err)
	}
	return d
}

// leave fills the disk but for so many bytes.
func (d *smallDisk) leave(room int64) {
	d.t.Helper()
	if !d.own {
		d.env = []string{"REEMBOSS_FILE_LIMIT=" + strconv.FormatInt(room, 10)}
		return
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &fs); err != nil {
		d.t.Fatal(err)
	}
	d.fill = filepath.Join(d.dir, "filler")
	f, err := os.Create(d.fill)
	if err != nil {
		d.t.Fatal(err)
	}
	block := make([]byte, fs.Bsize)
	for left := int64(fs.Bavail)*fs.Bsize - room; left > 0 && err == nil; left -= fs.Bsize {
		_, err = f.Write(block)
	}
	if err := errors.Join(err, f.Close()); err != nil && !errors.Is(err, syscall.ENOSPC) {
		d.t.Fatal(err)
	}
}

// empty gives the room back.
func (d *smallDisk) empty() {
	d.t.Helper()
	d.env = nil
	if d.own {
		if err := os.Remove(d.fill); err != nil {
			d.t.Fatal(err)
		}
	}
}

// words are those of which a run that finds no room says one. SQLite knows a full disk, and takes the limit for a broken one.
func (d *smallDisk) words() []string {
	if d.own {
		return []string{"no space left", "disk is full", "it is full or broken"}
	}
	return []string{"file too large", "disk I/O error"}
}

// The disk is full from the start, or has room for a part of the night only. The run says so and ends with a failure; what it left is
// whole, nothing of it is clear, and once there is room the next run ends the night as if nothing had happened.
func TestAFullDisk(t *testing.T) {
	prepared, requests := killNight(t)
	prepared.program = withoutRaceDetector(t)
	quiet := prepared.copyOf(t)
	quiet.points()
	want := lastReport(t, quiet.Dir)
	var more []int64
	for room := int64(16 << 10); room < 2<<20; room += 16 << 10 {
		more = append(more, room)
	}
	rooms := append([]int64{0}, proof.Chosen(more)...)
	broken, stopped := 0, 0
	for _, room := range rooms {
		ok := t.Run(fmt.Sprintf("%d KiB are left", room>>10), func(t *testing.T) {
			d := newSmallDisk(t)
			w := prepared.copyTo(t, filepath.Join(d.dir, "w"))
			d.leave(room)
			r := w.start(d.env, "--dir", w.Dir, "run")
			if r.exit == exitFault {
				stopped++
				if !slices.ContainsFunc(d.words(), func(word string) bool { return bytes.Contains(r.stderr, []byte(word)) }) {
					t.Errorf("it stops and does not say why: %s", r.stderr)
				}
			} else if r.exit != exitPerson { // there was room enough, and two request files are refused as always
				t.Errorf("on a full disk it ends with %d: %s", r.exit, r.stderr)
			}
			w.delivered() // what has its final name is whole
			d.empty()
			if r := w.start(nil, "--dir", w.Dir, "run"); r.exit != exitPerson && r.exit != exitComplete {
				t.Fatalf("with room again: exit %d\n%s%s", r.exit, r.stdout, r.stderr)
			}
			w.holds(requests, want)
			w.nothingMore()
		})
		if !ok {
			broken++
		}
	}
	if stopped == 0 {
		t.Error("no run found the disk full")
	}
	proof.Tell(t, "full disks", len(rooms), broken)
}

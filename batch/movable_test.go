package batch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"reemboss/batch/durable"
	"reemboss/batch/report"
)

// walledDisk moves nothing into a folder, nor into what is below it.
type walledDisk struct {
	durable.Machine
	folder string
	err    error
}

func (d walledDisk) Rename(from, to string) error {
	if dir := filepath.Dir(to); dir == d.folder || strings.HasPrefix(dir, d.folder+string(filepath.Separator)) && d.err != syscall.EXDEV {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: d.err}
	}
	return d.Machine.Rename(from, to)
}

// A folder on another mount, be it of the same file system, is found by moving a file there before anything is taken: exit
// code 2, in a sentence, and nothing was touched. So is a last place into which nothing can be moved; an inbox that may
// merely not be written stops no night.
func TestAFolderIntoWhichNothingMovesStopsTheRunBeforeItBegins(t *testing.T) {
	for _, c := range []struct {
		folder string
		err    syscall.Errno
		says   string // "" for a night that goes on
	}{
		{"inbox", syscall.EXDEV, "or on different mounts of one"}, {"inbox/cards", syscall.EXDEV, "or on different mounts of one"},
		{"done", syscall.EXDEV, "or on different mounts of one"}, {"refused", syscall.EXDEV, "or on different mounts of one"},
		{"done", syscall.EACCES, "into done/"}, {"refused", syscall.EROFS, "into refused/"}, {"inbox", syscall.EACCES, ""}, {"inbox/cards", syscall.EROFS, ""},
	} {
		t.Run(c.folder+", "+c.err.Error(), func(t *testing.T) {
			b := newBench(t)
			b.run()
			b.drop("a.csv", "card_id\n1\n")
			n, err := Open(t.Context(), b.Dir, Options{Lock: true, Log: zerolog.Nop(), Now: b.still(),
				Disk: walledDisk{folder: b.Path(c.folder), err: c.err}})
			if err == nil {
				_ = n.Close()
			}
			var setup *SetupError
			if (c.says != "") != errors.As(err, &setup) || c.says != "" && (!strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.folder+"/")) {
				t.Errorf("it says %v", err)
			}
			if left, _ := filepath.Glob(b.Path("*", ".*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
			if r := b.run(); r.Read != 1 {
				t.Errorf("with the wall gone %d rows are read", r.Read)
			}
		})
	}
}

// What a run that was killed left of the attempt is no request, needs nobody, and is gone after the next run.
func TestWhatIsLeftOfAnAttemptToMoveIsNoRequest(t *testing.T) {
	b := newBench(t)
	old := b.now.Add(-48 * time.Hour)
	var left []string
	for _, folder := range []string{"inbox", "inbox/cards", "done", "refused", "state/intake"} {
		left = append(left, b.Path(folder, durable.TempPrefix+"move"))
	}
	for _, path := range left {
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, old, old)); err != nil {
			t.Fatal(err)
		}
	}
	if r := b.run(); r.Exit != 0 || len(r.Notes) != 0 || r.Verdict != "No request came in. Everything balances and nothing waits." {
		t.Errorf("exit %d, %q, %q", r.Exit, r.Verdict, r.Notes)
	}
	for _, path := range left {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is there still", path)
		}
	}
}

// A refused file that cannot be put away keeps neither the answers of the others from their senders nor the report from
// its reader; a person is told, and the next run goes on with it.
func TestAFileThatCannotBePutAwayKeepsNothingElse(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.drop("a.csv", "first,second\n1,2\n")
	b.drop("b.csv", "card_id\n1\n")
	needs := func(r *Result) bool {
		return slices.ContainsFunc(r.NeedsPerson, func(n report.Need) bool { return strings.Contains(n.What, "a.csv is decided and has no answer yet") })
	}
	walled := func(n *Night) {
		n.Sleep = func(context.Context, time.Duration) error { return nil }
		n.Files.Disk = walledDisk{folder: b.Path("refused"), err: syscall.EACCES}
	}
	for range 2 {
		if r := b.run(walled); r.Exit != 4 || !needs(r) {
			t.Errorf("exit %d: %+v", r.Exit, r.NeedsPerson)
		}
		b.want(b.codes("done", "b.csv"), "00")
	}
	if r := b.run(); needs(r) {
		t.Errorf("exit %d: %+v", r.Exit, r.NeedsPerson)
	}
	b.want(b.codes("refused", "a.csv"), "header_missing")
}

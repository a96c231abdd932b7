package batch

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"reemboss/batch/durable"
	"reemboss/batch/ledger"
)

// stuckDisk moves nothing out of a folder.
type stuckDisk struct {
	durable.Machine
	folder string
	err    error
}

func (d stuckDisk) Rename(from, to string) error {
	if filepath.Dir(from) == d.folder && !strings.HasPrefix(filepath.Base(from), durable.TempPrefix) {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: d.err}
	}
	return d.Machine.Rename(from, to)
}

// What keeps complete files in the inbox is told every night, in the first sentence and as one thing to do (exit code 4);
// what was not read is never told as a quiet night. Once it is mended they are taken.
func TestFilesThatCannotBeTakenNeedAPerson(t *testing.T) {
	for err, says := range map[syscall.Errno]string{
		syscall.EPERM: "chmod -t inbox/", syscall.EACCES: "the right to write inbox/", syscall.EXDEV: "a mount of its own", syscall.EROFS: "mounted read-only", syscall.EIO: "Look at the disk",
	} {
		t.Run(err.Error(), func(t *testing.T) {
			b := newBench(t)
			b.cards("1 C1 NORMAL 411111000000001 00")
			b.run()
			b.drop("a.csv", "card_id\n1\n")
			b.drop("b.csv", "card_id\n2\n")
			stuck := func(n *Night) { n.Files.Disk = stuckDisk{folder: b.Inbox(), err: err} }
			for range 2 {
				r := b.run(stuck)
				if r.Exit != 4 || len(r.NeedsPerson) != 1 || r.Verdict != "No request was read; 2 files in the inbox could not be taken. One thing needs a person." {
					t.Fatalf("exit %d, %q: %+v", r.Exit, r.Verdict, r.NeedsPerson)
				}
				if need := r.NeedsPerson[0]; need.What != "a.csv, b.csv in inbox/ could not be taken" || !strings.Contains(need.Why, says) {
					t.Errorf("%+v", need)
				}
			}
			if r := b.run(); r.Exit != 0 || r.Accepted != 1 || r.Refused != 1 {
				t.Errorf("exit %d, accepted %d, refused %d: %+v", r.Exit, r.Accepted, r.Refused, r.NeedsPerson)
			}
		})
	}
}

// An extract that stays lies there with clear card numbers, and the requests beside it are decided without it: both is said.
func TestAnExtractThatCannotBeTakenNeedsAPerson(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.run()
	b.cards("2 C2 NORMAL 411111000000002 00")
	b.drop("a.csv", "card_id\n1\n")
	r := b.run(func(n *Night) { n.Files.Disk = stuckDisk{folder: b.InboxCards(), err: syscall.EACCES} })
	if r.Exit != 4 || r.Accepted != 1 || !strings.Contains(r.Verdict, "1 file in the inbox could not be taken") || len(r.NeedsPerson) != 1 ||
		!strings.Contains(r.NeedsPerson[0].Why, "card numbers may lie there in clear") {
		t.Errorf("exit %d, %q: %+v", r.Exit, r.Verdict, r.NeedsPerson)
	}
}

// A taken extract that cannot be read is not put away, for it could not be sealed: it stays where it is, for a person.
func TestATakenExtractThatCannotBeReadIsNotPutAway(t *testing.T) {
	b := newBench(t)
	n := b.open()
	if err := os.Mkdir(b.Path("state", "intake", "x"), 0o700); err != nil { // root reads any file
		t.Fatal(err)
	}
	_, err := n.importExtract(t.Context(), ledger.RequestFile{Name: "x.csv", Intake: "state/intake/x", Extract: true, State: ledger.Claimed})
	if err := n.troubled(err); err != nil || len(n.needs) != 1 || !strings.Contains(n.needs[0].Why, "may hold card numbers in clear") {
		t.Errorf("%v, %+v", err, n.needs)
	}
	if files, _ := filepath.Glob(b.Path("refused", "*", "*")); len(files) > 0 {
		t.Errorf("put away as %q", files)
	}
}

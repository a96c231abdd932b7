package batch

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"reemboss/batch/durable"
)

// lostFolder is a disk that moves one file into state/intake/, and then does not answer there any more.
type lostFolder struct {
	durable.Machine
	intake string
	lost   bool
}

func (d *lostFolder) Rename(from, to string) error {
	if d.lost || !strings.HasPrefix(to, d.intake) {
		return d.Machine.Rename(from, to)
	}
	d.lost = true
	err := d.Machine.Rename(from, to)
	if err == nil {
		err = os.Rename(d.intake, d.intake+".away")
	}
	if err == nil {
		err = os.Symlink(d.intake, d.intake) // a look at anything below is refused (ELOOP)
	}
	if err != nil {
		return err
	}
	return syscall.EIO
}

// Whether the file was moved cannot be seen: it must not be forgotten, for it may have been. The next run takes it on.
func TestAFileThatMayHaveBeenTakenIsNotForgotten(t *testing.T) {
	b := newBench(t)
	b.cards("1 C1 NORMAL 411111000000001 00")
	b.run()
	b.drop("a.csv", "card_id\n1\n")
	n := b.open()
	disk := &lostFolder{intake: b.Intake()}
	n.Files.Disk = disk
	if _, err := n.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "a.csv") {
		t.Errorf("it does not say what it could not take: %v", err)
	}
	_ = n.Close()
	if !disk.lost {
		t.Fatal("nothing was taken")
	}
	if err := os.Remove(disk.intake); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(disk.intake+".away", disk.intake); err != nil {
		t.Fatal(err)
	}
	if r := b.run(); r.Exit != 0 || r.Accepted != 1 {
		t.Errorf("exit %d, accepted %d: %+v", r.Exit, r.Accepted, r.NeedsPerson)
	}
	b.want(b.codes("done", "a.csv"), "00")
}

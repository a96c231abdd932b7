package report

import (
	"context"
	"path/filepath"
	"testing"

	"reemboss/batch/durable"
)

// pieceDisk counts what a night's reports write.
type pieceDisk struct {
	durable.Machine
	writes int
}

type pieceFile struct {
	durable.File
	disk *pieceDisk
}

func (d *pieceDisk) CreateTemp(folder, prefix string) (durable.File, error) {
	f, err := d.Machine.CreateTemp(folder, prefix)
	return pieceFile{f, d}, err
}

func (f pieceFile) Write(p []byte) (int, error) {
	f.disk.writes++
	return f.File.Write(p)
}

// A page is made of thousands of pieces; the disk gets it in a few.
func TestReportsAreWrittenInLargePieces(t *testing.T) {
	m, e := richNight(t)
	workspace, disk := t.TempDir(), new(pieceDisk)
	in := Input{Ledger: m, RunID: runID, Workspace: workspace, Dir: filepath.Join(workspace, "reports", runID), Extra: e, Files: durable.Files{Disk: disk}}
	if _, err := WriteAll(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	if disk.writes > 200 {
		t.Errorf("%d writes", disk.writes)
	}
}

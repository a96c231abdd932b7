package batch

import (
	"context"
	"fmt"
	"os"

	"reemboss/batch/ledger"
	"reemboss/batch/report"
)

// A writer that keeps a file open writes on wherever the file is moved to. Until
// its answers are written the file is compared and read again (grown); what is
// written later has no answer, so a person is told of it.

// grewAfter looks at the request files of this run and of the one before, where they were put away. What a writer adds
// later than that nobody sees.
func (n *Night) grewAfter(ctx context.Context) error {
	runs, err := n.Ledger.LastRuns(ctx, 2)
	if err != nil {
		return err
	}
	seen := map[int64]bool{}
	for _, run := range runs {
		files, err := n.Ledger.RunFiles(ctx, run.ID)
		if err != nil {
			return err
		}
		for _, f := range files {
			if f.State != ledger.Answered || f.HoldsPAN || seen[f.ID] { // what holds a card number lies sealed, and was looked at before
				continue
			}
			seen[f.ID] = true
			n.tellGrown(f, f.Final)
		}
	}
	return nil
}

// tellGrown tells a person of what a file at a place has beyond what was read. The size of a signed file is that of what was
// signed, and no row of one that was refused as a whole was read.
func (n *Night) tellGrown(f ledger.RequestFile, place string) {
	info, err := os.Lstat(n.Path(place))
	if err != nil || !info.Mode().IsRegular() || info.Size() <= f.Size || f.Extract || f.Code != "" || f.Approval != "" || f.Submitter != "" {
		return
	}
	n.need(report.Need{What: fmt.Sprintf("%s grew after it was read: %d bytes more", f.Final, info.Size()-f.Size),
		Why: fmt.Sprintf("Its sender paused for longer than intake.stable_for (%s) and then wrote on; nothing of that was read. Put the rest, under the same header, into a new file in inbox/. So that it does not happen again: write under another name and rename, or set intake.done_marker.", n.Config.Intake.StableFor)})
}

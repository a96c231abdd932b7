package batch

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
)

// This file is about planned files that cannot be written as things are: a key
// of the plan is gone, or the records give another clear text than the one whose
// digest was committed. Such a file never left the house.

// errDigest: the clear text is not the planned one.
var errDigest = errors.New("the records no longer give the digest of the plan; nothing of it is in the outbox. The ledger was changed, or what computes the card verification values gave others than at planning: look at the HSM first")

// unwritten leaves a file PLANNED, with the reason. Its recipient's later files
// wait and the other recipients go on; the report asks a person, who mends what
// the reason names or cancels the file (see [Night.Cancel]). The next run tries again.
func (n *Night) unwritten(ctx context.Context, f ledger.BureauFile, why string) error {
	n.stuck[f.Recipient] = true
	n.wait(f.Recipient, f.Name+" cannot be written: "+why)
	return n.failed(ctx, f, why)
}

// neverWritten says that a file could not be written in some night, and was not since.
func neverWritten(f ledger.BureauFile) bool {
	return f.State == ledger.Planned && f.LastError != ""
}

// clearUnwritten removes what a crash left of a planned file that is to be
// cancelled. Nobody fetched that: it has its own name only when it is WRITTEN.
// What has that name all the same an earlier version left, or a night that the
// ledger does not know; where the outbox is the delivery, its recipient may have
// fetched it: then a person finds out first, or a card may be made twice.
func (n *Night) clearUnwritten(f ledger.BureauFile) error {
	if f.State != ledger.Planned {
		return nil
	}
	if r, err := n.recipient(f.Recipient); !n.gone(f) && (err != nil || r.Delivery.Method == config.Folder) {
		return setup("outbox/%s/%s is there, left by a run that died, and %s may have fetched it from there: ask; if it did not, remove the file and cancel again", f.Recipient, f.Name, f.Recipient)
	}
	for _, path := range []string{n.sealed(f) + unsettled, n.sealed(f)} {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := n.Files.Remove(path); err != nil {
			return err
		}
		n.at("cancel/cleared")
	}
	return nil
}

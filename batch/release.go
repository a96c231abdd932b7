package batch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
)

// open are the states of a frozen file that is not at its recipient yet.
var openStates = []ledger.BureauFileState{ledger.Written, ledger.Intent, ledger.Uploaded, ledger.Renaming}

// release looks at every frozen file once more before it may leave: the bytes
// in the outbox are those that were written. A file that is missing or changed
// is kept back with its reason and waits for a person; it is never made anew. Of
// one that may have arrived already no bytes are needed.
func (n *Night) release(ctx context.Context) (int64, error) {
	files, err := n.Ledger.BureauFiles(ctx, ledger.FileQuery{States: openStates})
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if f.State == ledger.Renaming || n.gone(f) && n.fetches(f.Recipient) { // only a look at what became of it is left to do
			continue
		}
		if err := frozen(filepath.Join(n.Outbox(f.Recipient), f.Name), f.Size, f.SHA256); err != nil {
			n.keepBack(f, fmt.Sprintf("the frozen file outbox/%s/%s is missing or changed (%v); put the very same bytes back, they are never made again. Where they are lost, reemboss cancel puts the cards of a file that was never sent into the next one", f.Recipient, f.Name, plain(err)))
		}
	}
	return int64(len(files)), nil
}

// gone says that nothing has the name of a frozen file in the outbox.
func (n *Night) gone(f ledger.BureauFile) bool {
	_, err := os.Lstat(filepath.Join(n.Outbox(f.Recipient), f.Name))
	return errors.Is(err, fs.ErrNotExist)
}

// fetches says that a recipient takes its files out of the outbox itself.
func (n *Night) fetches(recipient string) bool {
	r, err := n.recipient(recipient)
	return err == nil && r.Delivery.Method == config.Folder
}

// keepBack marks a file that may not be sent in this run, and why.
func (n *Night) keepBack(f ledger.BureauFile, why string) {
	why = n.safe(why)
	n.kept[f.ID] = why
	n.Log.Error().Str("run", n.run.ID).Str("file", f.Name).Msg(why)
}

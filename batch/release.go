package batch

import (
	"context"
	"fmt"

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
		looks, err := n.onlyLooks(ctx, f)
		if err != nil {
			return 0, err
		}
		if looks {
			continue
		}
		if err := frozen(n.sealed(f), f.Size, f.SHA256); err != nil {
			n.keepBack(f, fmt.Sprintf("the frozen file outbox/%s/%s is missing or changed (%v); put the very same bytes back, they are never made again. Where they are lost, reemboss cancel puts the cards of a file that was never sent into the next one", f.Recipient, f.Name, plain(err)))
		}
	}
	return int64(len(files)), nil
}

// onlyLooks says that of a file which may have arrived only a look at what became of it is left to do: no bytes are needed.
func (n *Night) onlyLooks(ctx context.Context, f ledger.BureauFile) (bool, error) {
	if f.State == ledger.Renaming {
		return true, nil
	}
	if err := n.keepLeaving(ctx, f); err != nil {
		return false, err
	}
	fetched, err := n.mayBeFetched(ctx, f)
	return fetched && (n.gone(f) || !n.fetches(f.Recipient)), err
}

// keepBack marks a file that may not be sent in this run, and why.
func (n *Night) keepBack(f ledger.BureauFile, why string) {
	why = n.safe(why)
	n.kept[f.ID] = why
	n.Log.Error().Str("run", n.run.ID).Str("file", f.Name).Msg(why)
}

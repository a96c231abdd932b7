package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"reemboss/batch/config"
	"reemboss/batch/ledger"
)

// What lies in outbox/, where some recipients fetch their files themselves.
//
// A sealed file has its own name there only after the ledger has frozen it: until
// WRITTEN is durable its bytes lie under a name that nobody fetches ([unsettled]).
// A crash before discards them, and no one can have them; a crash after leaves
// them to [Night.giveName], which every night and every repetition begins with. So
// what is made again was never to be had.
//
// From the moment of its own name on, a file may have been fetched, if its
// recipient fetches. That is a matter of the configuration, which may be another
// one by the next night. So the history of the file keeps it ([leaving]), and with
// it who may have the file, whatever the configuration says by then.

// unsettled ends the name of a sealed file until the ledger has frozen it.
const unsettled = ".part"

// leaving is how a file leaves the outbox, as the evidence of a step before it is SENT.
type leaving struct {
	Method string `json:"method"` // config.Folder, config.SFTP
}

// leaves gives the evidence of how a recipient's files leave the outbox today; nil where the configuration does not know it.
func (n *Night) leaves(recipient string) []byte {
	r, err := n.recipient(recipient)
	if err != nil {
		return nil
	}
	text, err := json.Marshal(leaving{Method: r.Delivery.Method})
	if err != nil {
		return nil
	}
	return text
}

// left is the method under which a frozen file got its name in the outbox, or lay there in a later night; "" where no
// step of its present transfer tells, as of a file that an earlier version wrote.
func (n *Night) left(ctx context.Context, f ledger.BureauFile) (method string, err error) {
	history, err := n.Ledger.Deliveries(ctx, f.ID)
	for _, step := range history {
		var how leaving
		switch step.State {
		case ledger.Written, ledger.Intent, ledger.Uploaded:
			if json.Unmarshal(step.Evidence, &how) == nil && how.Method != "" {
				method = how.Method
			}
		case ledger.Sent, ledger.Undecided, ledger.Refused: // what comes after is another transfer
			method = ""
		}
	}
	return method, err
}

// fetches says that a recipient takes its files out of the outbox itself.
func (n *Night) fetches(recipient string) bool {
	r, err := n.recipient(recipient)
	return err == nil && r.Delivery.Method == config.Folder
}

// mayBeFetched says that a recipient may have taken a frozen file out of the outbox itself: it fetches there, or did so when
// the file got its name. Where neither history nor configuration tells, it is not excluded.
func (n *Night) mayBeFetched(ctx context.Context, f ledger.BureauFile) (bool, error) {
	method, err := n.left(ctx, f)
	if err != nil || method == config.Folder || n.fetches(f.Recipient) {
		return true, err
	}
	_, unknown := n.recipient(f.Recipient)
	return method == "" && unknown != nil, nil
}

// keepLeaving records that a file which another method was to send is there to be fetched now, before that is believed:
// it stays true when the configuration is put back.
func (n *Night) keepLeaving(ctx context.Context, f ledger.BureauFile) error {
	if f.State == ledger.Renaming || !n.fetches(f.Recipient) {
		return nil
	}
	method, err := n.left(ctx, f)
	if err != nil || method == config.Folder {
		return err
	}
	return n.Ledger.ChangeFile(ctx, ledger.FileChange{FileID: f.ID, From: []ledger.BureauFileState{f.State}, To: f.State, At: n.Now(), RunID: n.run.ID,
		Size: f.Size, SHA256: f.SHA256, Error: f.LastError, Evidence: n.leaves(f.Recipient)})
}

// giveNames gives the files that a crash left frozen under their first name their own.
func (n *Night) giveNames(ctx context.Context) error {
	files, err := n.Ledger.BureauFiles(ctx, ledger.FileQuery{States: []ledger.BureauFileState{ledger.Written}, Brief: true})
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := n.giveName(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// giveName gives a file that is WRITTEN its name, if it does not have it. From there its recipient may fetch it, so the marks
// are raised before: an older copy of the ledger, in which it is only planned, must not make it again.
func (n *Night) giveName(ctx context.Context, f ledger.BureauFile) error {
	path := n.sealed(f)
	if _, err := os.Lstat(path + unsettled); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := n.marks.raise(ctx, n.Ledger); err != nil {
		return err
	}
	if err := n.Files.Rename(path+unsettled, path); err != nil {
		return fmt.Errorf("put %s in its place: %w", f.Name, err)
	}
	n.at("write/placed")
	return nil
}

// sealed is where a file lies in the outbox.
func (n *Night) sealed(f ledger.BureauFile) string {
	return filepath.Join(n.Outbox(f.Recipient), f.Name)
}

// intact says that the outbox has the frozen bytes of a file, be it under the name that it had before [Night.giveName].
func (n *Night) intact(f ledger.BureauFile) error {
	err := frozen(n.sealed(f), f.Size, f.SHA256)
	if errors.Is(err, fs.ErrNotExist) && frozen(n.sealed(f)+unsettled, f.Size, f.SHA256) == nil {
		return nil
	}
	return err
}

// gone says that nothing has the name of a frozen file in the outbox.
func (n *Night) gone(f ledger.BureauFile) bool {
	_, err := os.Lstat(n.sealed(f))
	return errors.Is(err, fs.ErrNotExist)
}

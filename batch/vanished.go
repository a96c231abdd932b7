package batch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"reemboss/batch/ledger"
	"reemboss/batch/report"
)

// An inbox or a ledger that is not there. A run makes missing folders of its workspace, but
// one that senders write into was there before: it was removed, or what it lies
// on is not mounted, and an empty night must not be told as a good one.

// missingInboxes notes, for a person, the inbox that a workspace with a ledger has lost. Called before folders are made.
func (n *Night) missingInboxes() {
	if _, err := os.Lstat(n.LedgerFile()); err != nil {
		return // it is only beginning
	}
	for _, box := range []string{n.Inbox(), n.InboxCards()} {
		if missing(box) {
			name := n.Relative(box) + "/"
			n.needs = append(n.needs, report.Need{What: name + " was not there and was made anew",
				Why: "Somebody removed it, or what it lies on is not mounted. What senders put into the old one was not read: bring it back, and the next run takes it.", Command: "reemboss run"})
			return // the one of the cards lies within it
		}
	}
}

// vanished is the error of an inbox that went away while the night works; nil while it is there.
func (n *Night) vanished(box string) error {
	if !missing(box) {
		return nil
	}
	return fmt.Errorf("%s/ went away while the night worked; what was taken from it is safe, the rest was not read: bring it back and start again", n.Relative(box))
}

// forgotten is the error of a ledger that knows no run beside reports or sealed files of some: state/ was lost, or left
// behind when the rest was put back, and a new ledger would begin with the first number of everything.
func (n *Night) forgotten(ctx context.Context) error {
	if runs, err := n.Ledger.LastRuns(ctx, 1); err != nil || len(runs) > 0 {
		return err
	}
	if restored, err := n.Ledger.Restorations(ctx); err != nil || len(restored) > 0 {
		return err
	}
	reports, err := os.ReadDir(n.Path("reports"))
	if err != nil {
		return fmt.Errorf("list reports: %w", err)
	}
	tells := ""
	if slices.ContainsFunc(reports, fs.DirEntry.IsDir) {
		tells = "reports/ has those of earlier runs"
	}
	for _, recipient := range n.recipients() {
		sealed, err := n.unknown(n.Outbox(recipient), func(string) bool { return false }, sealedBytes)
		if err != nil {
			return err
		}
		if len(sealed) > 0 && tells == "" {
			tells = "outbox/" + recipient + "/ has files of earlier runs"
		}
	}
	if tells == "" {
		return nil
	}
	return fmt.Errorf("%w: the ledger in state/ knows no run, and %s; nothing is issued or sent until state/ is back, or, where it is lost, a backup is put back with reemboss restore (to begin anew for good, move reports/ and outbox/ elsewhere)", ledger.ErrBehind, tells)
}

func missing(folder string) bool {
	_, err := os.Stat(folder)
	return errors.Is(err, fs.ErrNotExist)
}

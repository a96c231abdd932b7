package batch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"reemboss/batch/report"
)

// An inbox that is not there. A run makes missing folders of its workspace, but
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
			n.need(report.Need{What: name + " was not there and was made anew",
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

func missing(folder string) bool {
	_, err := os.Stat(folder)
	return errors.Is(err, fs.ErrNotExist)
}

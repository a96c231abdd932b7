package batch

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"
)

// movable proves, before anything is taken, that a file can go its way: by one rename from an inbox into state/intake/, by
// another to its last place. An inbox that may merely not be written stops no night, which has more to do than to take
// files: that is a note, and those that lie in it are told when they cannot be taken (untaken.go).
func (n *Night) movable() error {
	inboxes, ends := []string{n.Inbox(), n.InboxCards()}, []string{n.Path("done"), n.Path("refused")}
	kept, err := n.Files.TryMoves(n.Intake(), slices.Concat(ends, inboxes)...)
	if err != nil {
		return fmt.Errorf("no file can be made in state/intake/, where a run takes files: %w; nothing was done: mend that and start again", plain(err))
	}
	for _, folder := range slices.Sorted(maps.Keys(kept)) {
		err := kept[folder]
		if errors.Is(err, syscall.EXDEV) {
			return fmt.Errorf("%s/ and state/intake/ of %s lie on different file systems, or on different mounts of one (a bind mount, a volume of a container); a file can only move whole by a rename within one: put them on one, or mount the whole workspace", n.Relative(folder), n.Dir)
		}
		if slices.Contains(ends, folder) {
			return fmt.Errorf("no file can be moved from state/intake/ into %s/ of %s (%w), and each must go there when it is answered; nothing was done: mend that and start again", n.Relative(folder), n.Dir, plain(err))
		}
		n.note("no file can be moved between %s/ and state/intake/ (%v): what lies there is not taken", n.Relative(folder), plain(err))
	}
	return nil
}

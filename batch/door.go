package batch

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// ErrLooked: another command has the ledger open, and it cannot be replaced under it (exit code 3).
var ErrLooked = errors.New("another command is looking at the ledger; try again when it is done")

// ErrReplaced: a restore is at work, and the ledger cannot be opened (exit code 3).
var ErrReplaced = errors.New("the ledger is being restored; try again when that is done")

// enterDoor holds the folder of the ledger while it is open: every command together
// with others, a restore alone. SQLite removes a WAL by its name when its last
// connection goes, so that nobody may have the old file open when a new one
// takes its place. The end of the process gives it back, however it ends.
func (n *Night) enterDoor(alone bool) error {
	if n.door != nil {
		return nil
	}
	folder := n.Path("state")
	if err := n.Files.MkdirAll(folder); err != nil {
		return fmt.Errorf("make the state folder: %w", err)
	}
	door, err := os.Open(folder)
	if err != nil {
		return fmt.Errorf("open the state folder: %w", err)
	}
	how, taken := syscall.LOCK_SH, ErrReplaced
	if alone {
		how, taken = syscall.LOCK_EX, ErrLooked
	}
	switch err := syscall.Flock(int(door.Fd()), how|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		_ = door.Close()
		return taken
	case err != nil:
		_ = door.Close()
		return fmt.Errorf("lock the state folder: %w", err)
	}
	n.door = door
	return nil
}

// leaveDoor gives the folder back.
func (n *Night) leaveDoor() {
	if n.door != nil {
		_ = n.door.Close()
		n.door = nil
	}
}

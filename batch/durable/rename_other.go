//go:build !linux

package durable

import (
	"errors"
	"os"
)

// RenameNew implements [Disk].
func (Machine) RenameNew(from, to string) error {
	return &os.LinkError{Op: "rename", Old: from, New: to, Err: errors.ErrUnsupported}
}

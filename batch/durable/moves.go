package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// probeName is the name of the file of [Files.TryMoves] away from home. It has no ending of a file that anybody reads.
const probeName = TempPrefix + "move"

// TryMoves moves an empty file from home into each of the folders and back, and
// gives what the disk said of those where that failed, by folder. Only the
// attempt tells: another mount of the same file system (a bind mount, a volume of
// a container) has the same device number, and a file does not move to it all the same.
// err is that no file could be made in home or removed from it.
//
// Killed in the middle it leaves that file, empty: in home under a name that
// [Files.Sweep] removes, in a folder under one that the next attempt moves away
// again. Only one process at a time may try (the run lock is held).
func (f Files) TryMoves(home string, folders ...string) (kept map[string]error, err error) {
	probe, err := f.disk().CreateTemp(home, TempPrefix)
	if err != nil {
		return nil, fmt.Errorf("make a file in %s: %w", home, err)
	}
	kept = map[string]error{}
	err = probe.Close()
	for _, folder := range folders {
		there := filepath.Join(folder, probeName)
		if moved := f.disk().Rename(probe.Name(), there); moved != nil {
			kept[folder] = moved
			continue
		}
		if back := f.disk().Rename(there, probe.Name()); back != nil {
			kept[folder] = back
			break // it is there, or nobody can see where
		}
	}
	if removed := f.disk().Remove(probe.Name()); removed != nil && !errors.Is(removed, fs.ErrNotExist) {
		err = errors.Join(err, fmt.Errorf("remove a file from %s: %w", home, removed))
	}
	return kept, err
}

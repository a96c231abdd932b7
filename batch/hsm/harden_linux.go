package hsm

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Harden keeps what the process has in memory from reaching a disk by
// accident: no core dump (RLIMIT_CORE 0), no attaching and no dump by another
// process of the same user (PR_SET_DUMPABLE 0), and new files private (umask
// 077). Call it first in main; the settings hold for the whole process and its children.
func Harden() error {
	unix.Umask(0o077)
	return errors.Join(
		wrap("forbid core dumps", unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})),
		wrap("forbid memory dumps", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)),
	)
}

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

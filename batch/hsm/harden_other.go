//go:build unix && !linux

package hsm

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Harden keeps what the process has in memory from reaching a disk by
// accident: no core dump (RLIMIT_CORE 0) and new files private (umask 077).
func Harden() error {
	unix.Umask(0o077)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	return nil
}

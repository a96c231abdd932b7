package batch

import (
	"fmt"
	"os"
	"syscall"
)

// device names the file system that a folder lies on.
func device(path string) (uint64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, fmt.Errorf("look at %s: %w", path, err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, nil
	}
	return uint64(stat.Dev), nil //nolint:unconvert // int32 on some systems
}

//go:build unix

package store

import (
	"fmt"
	"syscall"
)

// diskFree is what the data directory's file system has left for us, bytes.
func (s *sqlite) diskFree() (int64, error) {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &fs); err != nil {
		return 0, fmt.Errorf("couldn't ask how full the disk of %s is: %w", s.dir, err)
	}
	return int64(fs.Bavail) * int64(fs.Bsize), nil //nolint:unconvert // the types differ by system
}

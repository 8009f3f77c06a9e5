//go:build unix

package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockName is the file whose lock says that a process owns the data directory.
const lockName = "popvote.lock"

// ErrInUse is a data directory that another ballot server has open.
var ErrInUse = errors.New("another ballot server is using it")

// lockDir takes the data directory for this process, and shows at the same time that it can be written.
// The lock ends with the file's closing, so also with the process.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("couldn't write to data directory %s: %w", dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrInUse
		}
		return nil, fmt.Errorf("couldn't take data directory %s: %w", dir, err)
	}
	return f, nil
}

// Package datadir takes a data directory for one process: makes it, checks it, and locks it.
package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/popvote/popvote/apps/popvote/internal/exit"
)

// lockName is the file whose flock says that the directory is taken: keys and socket included, while
// the ballot server's own lock is for its database. The kernel lets go of it when the process ends,
// however it ends.
const lockName = "popvote-up.lock"

// Dir is a data directory that this process holds.
type Dir struct {
	Path string
	lock *os.File
}

// Open takes the directory, and makes it if it is not there (mode 0700: it will hold keys).
func Open(path string) (*Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, exit.Errorf(exit.BadData, "couldn't make the data directory: %w", err)
	}
	return take(path)
}

// OpenExisting takes the directory only if it is there.
func OpenExisting(path string) (*Dir, error) {
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, exit.Errorf(exit.BadData, "there is no data directory %s (see --data)", path)
		}
		return nil, exit.Errorf(exit.BadData, "couldn't look at the data directory: %w", err)
	}
	return take(path)
}

func take(path string) (*Dir, error) {
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, exit.Errorf(exit.BadData, "couldn't write to the data directory: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, exit.Errorf(exit.InUse, "the data directory %s is in use by another popvote", path)
		}
		return nil, exit.Errorf(exit.BadData, "couldn't lock the data directory %s: %w", path, err)
	}
	return &Dir{Path: path, lock: lock}, nil
}

// Close lets go of the directory.
func (d *Dir) Close() error {
	if err := d.lock.Close(); err != nil {
		return fmt.Errorf("couldn't let go of the data directory: %w", err)
	}
	return nil
}

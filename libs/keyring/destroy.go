package keyring

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"
)

// ErrDestroyed is a secret that was destroyed. It is never made anew.
var ErrDestroyed = errors.New("the secret was destroyed")

// ErrNoSecret is a secret that was never made, so that there is nothing to destroy.
var ErrNoSecret = errors.New("there is no such secret")

// Tombstone is what is left of a destroyed secret.
type Tombstone struct {
	// Fingerprint is Fingerprint's, of the secret that was.
	Fingerprint []byte `json:"fingerprint"`
	// At is when it was destroyed.
	At time.Time `json:"at"`
}

// Destroyer is a ring that can forget. Safe for concurrent use.
type Destroyer interface {
	// Destroy removes a secret for good and leaves a tombstone; from its return on, Secret is ErrDestroyed,
	// after a restart too. What was destroyed before gives the tombstone it has. ErrNoSecret if the
	// secret was never made.
	Destroy(ctx context.Context, purpose Purpose, scope string) (Tombstone, error)
}

// Fingerprint commits to a secret without telling it: SHA-256 over a label, the secret's purpose and
// scope, and its 32 random bytes, which nobody can guess.
func Fingerprint(purpose Purpose, scope string, secret [32]byte) []byte {
	h := sha256.New()
	// Neither a purpose nor a scope holds a zero byte.
	_, _ = fmt.Fprintf(h, "popvote secret v1\x00%s\x00%s\x00", purpose, scope)
	h.Write(secret[:])
	return h.Sum(nil)
}

func nameOf(purpose Purpose, scope string) string {
	if scope == "" {
		return string(purpose)
	}
	return string(purpose) + "/" + scope
}

var _ Destroyer = (*File)(nil)

// Destroy implements Destroyer. The file that held the secret is replaced first, and then overwritten
// where it lay: a copy that a file system, a disk or a backup made meanwhile is beyond its reach. Other
// processes forget the secret when they next look at the file (Follow).
func (f *File) Destroy(_ context.Context, purpose Purpose, scope string) (Tombstone, error) {
	name := nameOf(purpose, scope)
	f.mu.Lock()
	defer f.mu.Unlock()
	var failed error
	err := f.change(func(c *content) bool {
		if _, done := c.Destroyed[name]; done {
			return false
		}
		secret, made := c.Named[name]
		if !made {
			failed = fmt.Errorf("couldn't destroy secret %s: %w", name, ErrNoSecret)
			return false
		}
		if failed = f.keepOld(); failed != nil {
			return false
		}
		if c.Destroyed == nil {
			c.Destroyed = map[string]Tombstone{}
		}
		c.Destroyed[name] = Tombstone{
			Fingerprint: Fingerprint(purpose, scope, [32]byte(secret)),
			At:          f.clock().UTC().Truncate(time.Millisecond),
		}
		delete(c.Named, name)
		return true
	}, f.finishScrub)
	if err := errors.Join(err, failed); err != nil {
		return Tombstone{}, err
	}
	return f.now.Load().destroyed[name], nil
}

func (f *File) old() string { return f.path + ".old" }

// keepOld gives the file a second name, under which it is found and overwritten once it is replaced, also
// after a crash in between. With the lock held.
func (f *File) keepOld() error {
	if err := f.finishScrub(); err != nil {
		return err
	}
	if err := os.Link(f.path, f.old()); err != nil {
		return fmt.Errorf("couldn't keep hold of the key file until it is overwritten: %w", err)
	}
	return syncDir(filepath.Dir(f.path))
}

// finishScrub overwrites a file that was replaced because it held what is to be forgotten. With the lock
// held; safe at any time. A second name of the file that is in use, left by a crash before it was replaced, is only removed.
func (f *File) finishScrub() error {
	was, err := os.Stat(f.old())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("couldn't look at the old key file: %w", err)
	}
	is, err := os.Stat(f.path)
	if err != nil {
		return fmt.Errorf("couldn't look at the key file: %w", err)
	}
	if !os.SameFile(was, is) {
		if err := overwrite(f.old(), was.Size()); err != nil {
			return fmt.Errorf("couldn't overwrite the old key file: %w", err)
		}
	}
	if err := os.Remove(f.old()); err != nil {
		return fmt.Errorf("couldn't remove the old key file: %w", err)
	}
	return syncDir(filepath.Dir(f.path))
}

func overwrite(path string, size int64) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.Write(make([]byte, size))
	return errors.Join(err, file.Sync(), file.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Inventory is what a key file holds, without a secret in it.
type Inventory struct {
	// Held are the names of the secrets, "purpose" or "purpose/scope".
	Held []string
	// Destroyed are the tombstones by name.
	Destroyed map[string]Tombstone
	// each goes through the secrets. It is a function, so that printing an inventory prints none.
	each iter.Seq[[32]byte]
}

// Inspect reads a key file without changing it.
func Inspect(path string) (*Inventory, error) {
	c, err := (&File{path: path}).read()
	if err != nil {
		return nil, err
	}
	v, err := newView(c)
	if err != nil {
		return nil, fmt.Errorf("couldn't use the key file %s: %w", path, err)
	}
	i := &Inventory{Destroyed: v.destroyed, each: func(yield func([32]byte) bool) {
		for _, s := range v.secrets {
			if !yield(*s) {
				return
			}
		}
	}}
	for name := range v.secrets {
		i.Held = append(i.Held, name)
	}
	return i, nil
}

// Matches reports whether any secret that is held, under whatever name, has a fingerprint as one of the
// purpose and scope: whether the destroyed one is still there in disguise.
func (i *Inventory) Matches(purpose Purpose, scope string, fingerprint []byte) bool {
	for s := range i.each {
		if string(Fingerprint(purpose, scope, s)) == string(fingerprint) {
			return true
		}
	}
	return false
}

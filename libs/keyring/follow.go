package keyring

import (
	"context"
	"fmt"
	"os"
	"time"
)

// FollowEvery is how often a program looks whether another one has changed its key file.
const FollowEvery = 5 * time.Second

// Follow reads the file again whenever another process has replaced it, until the context ends. So a
// secret that was destroyed is wiped from this process's memory, too, within the time between two looks;
// what the runtime has left of it in memory that is free by now is beyond its reach. A file that cannot
// be read changes nothing, and Err says so: losing it must not stop a vote.
func (f *File) Follow(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.follow()
		}
	}
}

func (f *File) follow() {
	f.mu.Lock()
	defer f.mu.Unlock()
	is, err := os.Stat(f.path)
	if err != nil {
		f.followErr = fmt.Errorf("couldn't look at the key file: %w", err)
		return
	}
	if f.seen != nil && os.SameFile(f.seen, is) && f.seen.ModTime().Equal(is.ModTime()) && f.seen.Size() == is.Size() {
		f.followErr = nil
		return
	}
	if f.followErr = f.reread(); f.followErr == nil {
		f.seen = is // or an older one than was read, which is read once more
	}
}

// reread shows the file as it is now. With f.mu held.
func (f *File) reread() error {
	c, err := f.read()
	if err != nil {
		return err
	}
	v, err := newView(c)
	if err != nil {
		return fmt.Errorf("couldn't use the key file %s: %w", f.path, err)
	}
	f.show(v)
	return nil
}

// show puts a view in the place of the one before, whose secrets are wiped: what the file has no more, this
// process has no more.
func (f *File) show(v *view) {
	f.giving.Lock()
	defer f.giving.Unlock()
	if before := f.now.Swap(v); before != nil {
		for _, s := range before.secrets {
			clear(s[:])
		}
	}
}

// held copies a secret of the view.
func (f *File) held(name string) (secret [32]byte, ok bool) {
	f.giving.RLock()
	defer f.giving.RUnlock()
	s, ok := f.now.Load().secrets[name]
	if ok {
		secret = *s
	}
	return secret, ok
}

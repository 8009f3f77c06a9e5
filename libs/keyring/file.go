package keyring

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// rotateEvery is a day: 2³² tokens under one key, the bound for random GCM nonces (NIST SP
	// 800-38D, section 8.3), would take 49,000 a second.
	rotateEvery = 24 * time.Hour
	// settle is how old a version is before it seals, so that every verifier has it by then.
	settle = 2 * time.Minute
	// keepFor is how long a version still opens after another took its place: longer than any token lives.
	keepFor = 24 * time.Hour
	// retryEvery is the pause after a rotation that failed; the old version goes on sealing.
	retryEvery = time.Minute
)

// ErrLooseMode is a key file that others than its owner can read or write.
var ErrLooseMode = errors.New("the mode of the key file is too loose")

// File is the ring and the secrets of an installation without Vault: one JSON file of mode 0600. What
// it gives out is on disk before it is given. Safe for concurrent use, by several processes too.
type File struct {
	path  string
	clock func() time.Time

	// now is what readers see; it is replaced whole, by show, and only its secrets change: they are wiped
	// once another view is in its place.
	now atomic.Pointer[view]
	// giving is held for reading while a secret is copied, and for writing while they are wiped.
	giving sync.RWMutex

	// mu is held by the one that changes the file.
	mu         sync.Mutex
	rotateNext time.Time   // under mu: no rotation is tried before
	rotateErr  error       // under mu: how the last one went
	missTried  time.Time   // under mu: when an unknown version last made us read the file again
	seen       os.FileInfo // under mu: the file that Follow read last
	followErr  error       // under mu: why the file could not be read again
}

var (
	_ Tokens  = (*File)(nil)
	_ Secrets = (*File)(nil)
)

// content is the file.
type content struct {
	Format int        `json:"format"`
	Tokens []tokenKey `json:"token_keys"`
	// Named are the secrets, by "purpose" or "purpose/scope".
	Named map[string][]byte `json:"secrets"`
	// Destroyed are the tombstones of those that are no more. A program that does not know of them refuses
	// the file instead of making such a secret anew.
	Destroyed map[string]Tombstone `json:"destroyed,omitempty"`
}

type tokenKey struct {
	Version int       `json:"version"`
	Created time.Time `json:"created"`
	Key     []byte    `json:"key"`
}

const format = 1

// view is the file, ready to use.
type view struct {
	versions  []version // oldest first
	secrets   map[string]*[32]byte
	destroyed map[string]Tombstone
}

type version struct {
	number  int
	created time.Time
	aead    cipher.AEAD
}

// OpenFile opens a key file, and makes it, with its directory, at the first start. A file that others
// can read or write is ErrLooseMode: its keys may have been copied.
func OpenFile(path string, clock func() time.Time) (*File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("couldn't make the key file's directory: %w", err)
	}
	f := &File{path: path, clock: clock}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.change(f.rotate, f.finishScrub); err != nil {
		return nil, err
	}
	return f, nil
}

// Sealing implements Tokens. Once a day it makes the next version; if that fails, the old one goes on
// and Err says why. It is never too old: nobody else makes versions that this process could miss.
func (f *File) Sealing() (int, cipher.AEAD, error) {
	now := f.clock()
	v := f.now.Load()
	if now.Sub(v.versions[len(v.versions)-1].created) >= rotateEvery && f.mu.TryLock() {
		if !now.Before(f.rotateNext) {
			f.rotateErr = f.change(f.rotate)
			f.rotateNext = now.Add(retryEvery)
			v = f.now.Load()
		}
		f.mu.Unlock()
	}
	for _, k := range slices.Backward(v.versions) {
		if now.Sub(k.created) >= settle {
			return k.number, k.aead, nil
		}
	}
	return v.versions[0].number, v.versions[0].aead, nil
}

// Opening implements Tokens. A version that another process may have made in the meantime is looked
// for in the file, at most once a second.
func (f *File) Opening(number int) (cipher.AEAD, error) {
	if aead, ok := f.now.Load().find(number); ok {
		return aead, nil
	}
	f.lookAgain()
	if aead, ok := f.now.Load().find(number); ok {
		return aead, nil
	}
	return nil, ErrUnknownVersion
}

// lookAgain reads the file again, at most once a second. Everybody who missed a version waits for the
// one who reads: to turn them away would end sessions whenever another process starts to seal with a
// version that is new here. Who comes later in that second has a view that is younger than any version
// anybody seals with (settle).
func (f *File) lookAgain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.clock()
	if since := now.Sub(f.missTried); since >= 0 && since < time.Second {
		return
	}
	f.missTried = now
	_ = f.reread() // whoever asks is told that there is no such version
}

func (v *view) find(number int) (cipher.AEAD, bool) {
	for _, k := range slices.Backward(v.versions) {
		if k.number == number {
			return k.aead, true
		}
	}
	return nil, false
}

// Secret implements Secrets.
func (f *File) Secret(_ context.Context, purpose Purpose, scope string) ([32]byte, error) {
	name := nameOf(purpose, scope)
	if s, ok := f.held(name); ok {
		return s, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.change(func(c *content) bool {
		_, made := c.Named[name]
		if _, destroyed := c.Destroyed[name]; made || destroyed {
			return false
		}
		c.Named[name] = newSecret(purpose)
		return true
	})
	if err != nil {
		return [32]byte{}, err
	}
	s, ok := f.held(name)
	if !ok {
		return [32]byte{}, fmt.Errorf("couldn't get secret %s: %w", name, ErrDestroyed)
	}
	return s, nil
}

// Err says why the last rotation of the token keys failed, or why Follow could not read the file; nil
// while all is well.
func (f *File) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.rotateErr, f.followErr)
}

// newSecret draws a secret; one for signing documents is a P-256 scalar, which not quite every 32
// bytes are.
func newSecret(purpose Purpose) []byte {
	for {
		s := random()
		if purpose == Documents {
			if _, err := ecdh.P256().NewPrivateKey(s); err != nil {
				continue
			}
		}
		return s
	}
}

func random() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails: it ends the program instead
	return b
}

// rotate adds a version when the newest is a day old, and drops those that no token needs any more.
func (f *File) rotate(c *content) bool {
	now := f.clock().UTC()
	if n := len(c.Tokens); n > 0 && now.Sub(c.Tokens[n-1].Created) < rotateEvery {
		return false
	}
	next := tokenKey{Version: 1, Created: now, Key: random()}
	if n := len(c.Tokens); n > 0 {
		next.Version = c.Tokens[n-1].Version + 1
	}
	c.Tokens = append(c.Tokens, next)
	for len(c.Tokens) > 1 && now.Sub(c.Tokens[1].Created) >= settle+keepFor {
		c.Tokens = c.Tokens[1:]
	}
	return true
}

// change applies a change to what is in the file now, makes it durable, and shows it to readers. With
// f.mu held. An error leaves file and readers as they were, or shows the file as it is on disk. What is
// to be done afterwards is done under the file's lock too.
func (f *File) change(apply func(*content) bool, then ...func() error) error {
	unlock, err := lock(f.path + ".lock")
	if err != nil {
		return fmt.Errorf("couldn't lock the key file %s: %w", f.path, err)
	}
	defer unlock()
	c, err := f.read()
	if errors.Is(err, fs.ErrNotExist) {
		if f.now.Load() != nil {
			// Making new keys in its place would be a second vote for everybody.
			return fmt.Errorf("the key file %s is gone; put it back: %w", f.path, err)
		}
		c, err = &content{Format: format, Named: map[string][]byte{}}, nil
	}
	if err != nil {
		return err
	}
	if apply(c) {
		if err := f.write(c); err != nil {
			return fmt.Errorf("couldn't write the key file %s: %w", f.path, err)
		}
	}
	v, err := newView(c)
	if err != nil {
		return fmt.Errorf("couldn't use the key file %s: %w", f.path, err)
	}
	f.show(v)
	for _, do := range then {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// read returns what is in the file, once all of it makes sense: a broken file is never changed.
func (f *File) read() (*content, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("couldn't open the key file: %w", err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("couldn't open the key file: %w", err)
	}
	if mode := info.Mode(); mode.Perm()&0o077 != 0 {
		return nil, fmt.Errorf("couldn't open the key file: %w: %s has %04o, want 0600; "+
			"if nobody else can have read it, run: chmod 600 %s", ErrLooseMode, f.path, mode.Perm(), f.path)
	}
	c := &content{}
	d := json.NewDecoder(file)
	d.DisallowUnknownFields()
	if err := d.Decode(c); err != nil {
		return nil, fmt.Errorf("couldn't read the key file %s: %w", f.path, err)
	}
	if c.Format != format {
		return nil, fmt.Errorf("couldn't read the key file %s: its format is %d, this program knows %d", f.path, c.Format, format)
	}
	if c.Named == nil {
		c.Named = map[string][]byte{}
	}
	if _, err := newView(c); err != nil {
		return nil, fmt.Errorf("couldn't use the key file %s: %w", f.path, err)
	}
	return c, nil
}

// write replaces the file: whole, or not at all, whatever fails when.
func (f *File) write(c *content) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetIndent("", "  ")
	if err := e.Encode(c); err != nil {
		return err
	}
	dir := filepath.Dir(f.path)
	// CreateTemp makes files of mode 0600.
	tmp, err := os.CreateTemp(dir, filepath.Base(f.path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = tmp.Write(text.Bytes())
	if err == nil {
		err = tmp.Sync()
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(tmp.Name(), f.path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return err
	}
	return syncDir(dir)
}

func newView(c *content) (*view, error) {
	if len(c.Tokens) == 0 {
		return nil, errors.New("it holds no token key")
	}
	v := &view{secrets: make(map[string]*[32]byte, len(c.Named)), destroyed: c.Destroyed}
	for name, t := range c.Destroyed {
		if _, held := c.Named[name]; held || len(t.Fingerprint) != 32 {
			return nil, fmt.Errorf("secret %q is destroyed and there, or its tombstone is damaged", name)
		}
	}
	for i, k := range c.Tokens {
		if len(k.Key) != 32 {
			return nil, fmt.Errorf("token key %d has %d bytes, want 32", k.Version, len(k.Key))
		}
		if k.Version < 1 || (i > 0 && k.Version <= c.Tokens[i-1].Version) {
			return nil, errors.New("the versions of the token keys do not ascend")
		}
		block, err := aes.NewCipher(k.Key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		v.versions = append(v.versions, version{number: k.Version, created: k.Created, aead: aead})
	}
	for name, s := range c.Named {
		if len(s) != 32 {
			return nil, fmt.Errorf("secret %q has %d bytes, want 32", name, len(s))
		}
		own := [32]byte(s)
		v.secrets[name] = &own
	}
	return v, nil
}

// lock waits for the lock that keeps two processes from changing the file at once. It is beside the
// file, because every change replaces the file itself.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return func() { _ = file.Close() }, nil
}

package mtls

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// The files of a service's directory.
const (
	CAFile   = "ca.pem"   // the certificates of the CA; two while one CA takes over from another
	CertFile = "cert.pem" // the service's certificate, with any between it and the CA
	KeyFile  = "key.pem"  // its private key, mode 0600 or less
)

// every is how often the files are looked at, at most.
const every = time.Second

// Files is one service's certificate and the CA it trusts, as they lie in a directory now. Safe for
// concurrent use.
type Files struct {
	end
	dir   string
	clock func() time.Time

	mu     sync.Mutex // guards what follows
	held   *material
	looked time.Time
	failed error // of the last reading, if it failed; held is then of an earlier one
}

// material is what was read together.
type material struct {
	pair  tls.Certificate
	roots *x509.CertPool
	seen  [3]stamp
}

// stamp tells one content of a file from another.
type stamp struct {
	at   time.Time
	size int64
}

// Load reads ca.pem, cert.pem and key.pem of a directory. It refuses a key that anybody but its owner
// may read: group members too could then be this service, and whatever writes the key for us (a
// template, `popvote certs`) can give it to the right user.
func Load(dir string, clock func() time.Time) (*Files, error) {
	f := &Files{dir: dir, clock: clock}
	f.end = end{f.current, clock}
	m, err := f.read()
	if err != nil {
		return nil, err
	}
	f.held, f.looked = m, clock()
	return f, f.expired(m)
}

// Check says what is wrong with the files: the last reading failed, so that older ones are in use, or
// the certificate has expired. It fits service.Health.
func (f *Files) Check(context.Context) error {
	m := f.current()
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.failed, f.expired(m))
}

func (f *Files) expired(m *material) error {
	if err := m.expired(f.clock()); err != nil {
		return fmt.Errorf("couldn't use %s: %w", filepath.Join(f.dir, CertFile), err)
	}
	return nil
}

func (m *material) expired(now time.Time) error {
	if leaf := m.pair.Leaf; now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		return fmt.Errorf("%w: it is for %s to %s", ErrExpired, leaf.NotBefore.Format(time.RFC3339), leaf.NotAfter.Format(time.RFC3339))
	}
	return nil
}

// current returns what lies in the directory, read anew if it changed. Files that cannot be read, as
// when a certificate is there already and its key not yet, leave the old ones in use.
func (f *Files) current() *material {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.clock()
	// A clock that was set back must not keep old files in use.
	if since := now.Sub(f.looked); since >= 0 && since < every {
		return f.held
	}
	f.looked = now
	if seen, err := f.look(); err == nil && seen == f.held.seen {
		f.failed = nil
		return f.held
	}
	m, err := f.read()
	f.failed = err
	if err == nil {
		f.held = m
	}
	return f.held
}

func (f *Files) look() (seen [3]stamp, err error) {
	for i, name := range []string{CAFile, CertFile, KeyFile} {
		info, err := os.Stat(filepath.Join(f.dir, name))
		if err != nil {
			return seen, err
		}
		seen[i] = stamp{info.ModTime(), info.Size()}
	}
	return seen, nil
}

func (f *Files) read() (*material, error) {
	// What is changed while it is read looks different the next time.
	seen, err := f.look()
	if err != nil {
		return nil, fmt.Errorf("couldn't find the certificates: %w", err)
	}
	key := filepath.Join(f.dir, KeyFile)
	if err := private(key); err != nil {
		return nil, err
	}
	cert := filepath.Join(f.dir, CertFile)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("couldn't read %s and its key: %w", cert, err)
	}
	if _, err := Service(pair.Leaf); err != nil {
		return nil, fmt.Errorf("couldn't use %s: %w", cert, err)
	}
	ca := filepath.Join(f.dir, CAFile)
	text, err := os.ReadFile(ca) //nolint:gosec // the operator names the directory
	if err != nil {
		return nil, fmt.Errorf("couldn't read the CA: %w", err)
	}
	m := &material{pair: pair, roots: x509.NewCertPool(), seen: seen}
	if !m.roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("couldn't read the CA: %s holds no certificate", ca)
	}
	return m, nil
}

func private(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("couldn't find the key: %w", err)
	}
	if loose := info.Mode().Perm() &^ fs.FileMode(0o600); loose != 0 {
		return fmt.Errorf("couldn't trust %s: its mode is %04o, so others may have it; want 0600", path, info.Mode().Perm())
	}
	return nil
}

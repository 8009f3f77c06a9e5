//go:build unix

package cluster

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/popvote/popvote/libs/mtls"
)

// link leads to the cluster's directory: job files name programs and certificates by it, wherever that is.
const link = "/run/popvote-cluster"

// ours are the programs that the jobs run.
var ours = []string{"api-server", "ballot-server", "sms-gateway", "control-panel", "popvote"}

func (c *Cluster) certificates() string { return filepath.Join(c.Dir, "keys", "tls") }

// authority is the certificate of the CA, which anybody may read.
func (c *Cluster) authority() string { return filepath.Join(link, "ca.pem") }

// lay puts what the programs need into the directory: certificates for Vault, PostgreSQL and the edges, and
// copies of our programs, so that a new build changes nothing under those that run.
func (c *Cluster) lay() error {
	if to, err := os.Readlink(link); err == nil && to != c.Dir {
		if !empty(to) {
			return fmt.Errorf("couldn't make the cluster: %s leads to another, %s", link, to)
		}
		if err := os.Remove(link); err != nil {
			return fmt.Errorf("couldn't remove an old link: %w", err)
		}
	}
	if err := os.Symlink(c.Dir, link); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("couldn't make a link to the cluster: %w", err)
	}
	if err := c.certify("vault", Database, "haproxy"); err != nil {
		return err
	}
	for _, dir := range []string{"audit", "bin"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, dir), 0o700); err != nil {
			return fmt.Errorf("couldn't make a directory: %w", err)
		}
	}
	if err := replace(filepath.Join(c.certificates(), mtls.CAFile), filepath.Join(c.Dir, "ca.pem"), 0o644); err != nil {
		return err
	}
	for _, name := range ours {
		if err := replace(filepath.Join(c.Programs, name), filepath.Join(c.Dir, "bin", name), 0o755); err != nil {
			return fmt.Errorf("couldn't take %s (make build): %w", name, err)
		}
	}
	return nil
}

// replace copies a file into the place of another, which goes on as it is for whoever has it open.
func replace(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}

// client has no proxy, because what it asks is on this machine, and trusts the cluster's own CA, once there
// is one.
func (c *Cluster) client() *http.Client {
	if known := c.http.Load(); known != nil {
		return known
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: config}}
	if pool, err := c.CA(); err == nil {
		config.RootCAs = pool
		c.http.Store(client)
	}
	return client
}

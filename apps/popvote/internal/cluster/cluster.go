//go:build unix

// Package cluster brings three clouds up on one machine: in each a Consul server, Nomad (server and
// client), Vault, and PostgreSQL under Patroni, and our services, Redis and HAProxy, which Nomad places. What it makes lives
// in one directory and in the namespaces of package netns; every step looks first whether it is done
// already, so that Up also goes on after a crash, and brings back what a drill took away.
package cluster

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/popvote/popvote/apps/popvote/internal/netns"
)

// Database is Patroni's scope, and the service in Consul by which the primary is found.
const Database = "popvote-db"

// Options say where a cluster is and what it is made of.
type Options struct {
	// Dir holds everything the cluster writes. PostgreSQL's own user must be able to pass through its parents.
	Dir string
	// Tools is where consul, nomad and vault are; what is not there is taken from PATH.
	Tools string
	// Programs is where our own are, Jobs the directory of job files, and Policies Vault's.
	Programs, Jobs, Policies string
	// Patience is how long any one step may take.
	Patience time.Duration
	// Say is told each step as it is done, and how long after the start that was.
	Say func(after time.Duration, step string)
}

// Cluster is the clouds. Its methods are not safe for concurrent use, but for Status and the finders.
type Cluster struct {
	Options
	Network netns.Network
	began   time.Time
	secrets secrets
	http    atomic.Pointer[http.Client]
}

// secrets are passwords that the cluster made for itself.
type secrets struct{ Superuser, Replication, Rewind, Vault string }

// New describes a cluster; nothing is made or started.
func New(o Options) (*Cluster, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("couldn't find the cluster's directory: %w", err)
	}
	o.Dir = dir
	for _, path := range []*string{&o.Jobs, &o.Policies, &o.Programs} {
		if *path, err = filepath.Abs(*path); err != nil {
			return nil, fmt.Errorf("couldn't find a directory: %w", err)
		}
	}
	return &Cluster{Options: o, began: time.Now(), Network: netns.Network{
		Name: "popvote", Prefix: netip.MustParsePrefix("10.203.0.0/24"),
		Clouds: []string{"cloud-a", "cloud-b", "cloud-c"}, Owner: dir,
	}}, nil
}

func (c *Cluster) say(format string, args ...any) {
	c.Say(time.Since(c.began), fmt.Sprintf(format, args...))
}

// Up brings everything up that is not, and returns when all of it works.
func (c *Cluster) Up(ctx context.Context) error {
	if err := c.Network.Check(); err != nil {
		return err
	}
	if err := c.prepare(); err != nil {
		return err
	}
	if err := c.lay(); err != nil {
		return err
	}
	if err := c.Network.Up(ctx); err != nil {
		return err
	}
	c.say("three clouds: %s", addresses(c.Network.All()))
	for _, cloud := range c.Network.All() {
		if err := c.start(ctx, cloud, ground); err != nil {
			return err
		}
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	return c.Place(ctx)
}

// settle waits for what was started, in the order in which it needs each other.
func (c *Cluster) settle(ctx context.Context) error {
	if err := c.await(ctx, "Consul: three servers and a leader", c.consulReady); err != nil {
		return err
	}
	if err := c.unseal(ctx, c.Network.All()...); err != nil {
		return err
	}
	if err := c.await(ctx, "Vault: three servers unsealed, one active", c.vaultReady); err != nil {
		return err
	}
	if err := c.await(ctx, "PostgreSQL: a primary, two standbys, one of them synchronous", c.databaseReady); err != nil {
		return err
	}
	for _, cloud := range c.Network.All() {
		if err := c.start(ctx, cloud, top); err != nil {
			return err
		}
	}
	return c.await(ctx, "Nomad: three servers, a client ready in each cloud", c.nomadReady)
}

// Back brings back one cloud that was killed, as jobs/README.md has it.
func (c *Cluster) Back(ctx context.Context, cloud netns.Cloud) error {
	if err := c.loadSecrets(false); err != nil {
		return err
	}
	if err := c.start(ctx, cloud, ground); err != nil {
		return err
	}
	if err := c.unseal(ctx, cloud); err != nil {
		return err
	}
	if err := c.await(ctx, "Vault: "+cloud.Name+" knows who is active", func(ctx context.Context) error {
		var leader struct {
			Address string `json:"leader_address"`
		}
		if err := c.ask(ctx, "GET", cloud.Addr, vaultPort, "/v1/sys/leader", "", nil, &leader); err != nil {
			return err
		}
		if leader.Address == "" {
			return errors.New("it doesn't")
		}
		return nil
	}); err != nil {
		return err
	}
	return c.start(ctx, cloud, top)
}

// Others are the addresses of all other clouds.
func (c *Cluster) Others(cloud netns.Cloud) (all []netip.Addr) {
	for _, other := range c.Network.All() {
		if other != cloud {
			all = append(all, other.Addr)
		}
	}
	return all
}

// start starts those of a cloud's programs that don't run.
func (c *Cluster) start(ctx context.Context, cloud netns.Cloud, programs []program) error {
	for _, p := range programs {
		if c.running(cloud, p.name) {
			continue
		}
		if err := c.launch(cloud, p); err != nil {
			return err
		}
		c.say("%s: %s started", cloud.Name, p.name)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Down ends everything and removes it; with keep, what is in the directory stays.
func (c *Cluster) Down(ctx context.Context, keep bool) error {
	if owner, there := c.Network.Holder(); there && owner != c.Dir {
		return fmt.Errorf("couldn't end the cluster of %s: the one that is up is that of %s", c.Dir, owner)
	}
	if _, err := os.Stat(c.marker()); errors.Is(err, fs.ErrNotExist) && !keep && !empty(c.Dir) {
		return fmt.Errorf("couldn't remove %s: it holds no cluster", c.Dir)
	}
	var failed error
	done := make(chan error)
	for _, cloud := range c.Network.All() {
		go func() { done <- cloud.Terminate(ctx, 15*time.Second) }()
	}
	for range c.Network.All() {
		failed = errors.Join(failed, <-done)
	}
	c.say("all programs ended")
	failed = errors.Join(failed, c.Network.Down(ctx), removeGroups())
	if !keep {
		failed = errors.Join(failed, os.RemoveAll(c.Dir))
		if to, err := os.Readlink(link); err == nil && to == c.Dir {
			failed = errors.Join(failed, os.Remove(link))
		}
	}
	c.say("nothing is left")
	return failed
}

// marker is the file that says that a directory holds a cluster: only such a one is removed.
func (c *Cluster) marker() string { return filepath.Join(c.Dir, "keys", "passwords.json") }

// prepare makes the directory and the passwords, and checks that PostgreSQL's user gets there.
func (c *Cluster) prepare() error {
	if _, err := os.Stat(c.marker()); err != nil && !empty(c.Dir) {
		return fmt.Errorf("couldn't make a cluster in %s: it holds something else", c.Dir)
	}
	for _, p := range programs {
		if _, err := c.find(p.binary); err != nil {
			return err
		}
	}
	if _, err := os.Stat(filepath.Join(binaries, "postgres")); err != nil {
		return fmt.Errorf("couldn't find PostgreSQL 15; tools/bootstrap installs it: %w", err)
	}
	if err := os.MkdirAll(c.Dir, 0o711); err != nil { //nolint:gosec // PostgreSQL passes through; secrets are below, in keys
		return fmt.Errorf("couldn't make the cluster's directory: %w", err)
	}
	for at := c.Dir; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			return fmt.Errorf("couldn't look at %s: %w", at, err)
		}
		if info.Mode()&0o001 == 0 {
			return fmt.Errorf("couldn't put PostgreSQL into %s: its user may not pass through %s (chmod o+x, or another --dir)", c.Dir, at)
		}
		if at == "/" {
			break
		}
	}
	if err := os.MkdirAll(filepath.Join(c.Dir, "keys"), 0o700); err != nil {
		return fmt.Errorf("couldn't make a directory for keys: %w", err)
	}
	return c.loadSecrets(true)
}

// loadSecrets reads the passwords, or makes them.
func (c *Cluster) loadSecrets(create bool) error {
	err := readJSON(c.marker(), &c.secrets)
	if errors.Is(err, fs.ErrNotExist) && create {
		c.secrets = secrets{rand.Text(), rand.Text(), rand.Text(), rand.Text()}
		return writeJSON(c.marker(), c.secrets)
	}
	return err
}

// DSN is how the superuser reaches the database of a cloud.
func (c *Cluster) DSN(addr netip.Addr, database string) (string, error) {
	if err := c.loadSecrets(false); err != nil {
		return "", err
	}
	return fmt.Sprintf("postgres://postgres:%s@%s:5432/%s?sslmode=verify-full&sslrootcert=%s&connect_timeout=2", c.secrets.Superuser, addr, database, c.authority()), nil
}

// find returns the path of a program: of tools, or on PATH.
func (c *Cluster) find(name string) (string, error) {
	path, err := filepath.Abs(filepath.Join(c.Tools, name))
	if err != nil {
		return "", fmt.Errorf("couldn't find %s: %w", name, err)
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if path, err = exec.LookPath(name); err != nil {
		return "", fmt.Errorf("couldn't find %s, neither in %s nor on PATH (make bootstrap cluster-tools): %w", name, c.Tools, err)
	}
	return path, nil
}

// await waits until a part is ready, and says so.
func (c *Cluster) await(ctx context.Context, what string, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.Patience)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			c.say("%s", what)
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("couldn't get as far as %q within %s: %w (logs: %s/*/*.log)", what, c.Patience, err, c.Dir)
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func addresses(clouds []netns.Cloud) string {
	all := make([]string, len(clouds))
	for i, c := range clouds {
		all[i] = c.Name + " " + c.Addr.String()
	}
	return strings.Join(all, ", ")
}

// empty is whether a directory has nothing in it, or is not there.
func empty(dir string) bool {
	d, err := os.Open(dir)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	defer func() { _ = d.Close() }()
	_, err = d.Readdirnames(1)
	return errors.Is(err, io.EOF)
}

func readJSON(path string, into any) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("couldn't read the cluster's keys: %w", err)
	}
	if err := json.Unmarshal(content, into); err != nil {
		return fmt.Errorf("couldn't read %s: %w", path, err)
	}
	return nil
}

// writeJSON writes a secret.
func writeJSON(path string, v any) error {
	content, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("couldn't encode %s: %w", path, err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return fmt.Errorf("couldn't write the cluster's keys: %w", err)
	}
	return nil
}

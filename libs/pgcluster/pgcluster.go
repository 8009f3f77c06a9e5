//go:build unix

// Package pgcluster runs real PostgreSQL servers for tests: a primary and as many standbys as wanted, on
// loopback ports and in a temporary directory, as Debian's postgresql-15 installs them. It knows no
// driver: it runs the servers' own programs.
//
// Durability is as in production (fsync on). Every role may connect over loopback without a password.
package pgcluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// binaries is where Debian keeps the programs.
const binaries = "/usr/lib/postgresql/15/bin"

// Program is the path of one of PostgreSQL's programs.
func Program(name string) string { return filepath.Join(binaries, name) }

// patience is how long a server may take to start, to stop, or to catch up.
const patience = 60 * time.Second

// Superuser is the role that initdb makes.
const Superuser = "postgres"

// anyOne has commits wait for any one of the standbys, and quorum counts those that they may wait for.
const (
	anyOne = "ANY 1 (*)"
	quorum = `SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum'`
)

// Options say which servers are wanted. The zero value is one primary by itself.
type Options struct {
	// Dir is where the servers' own directory is made; empty for the system's temporary one.
	Dir string
	// Standbys is how many servers follow the primary. They are named standby1, standby2 …
	Standbys int
	// Sync has the primary's commits wait for any one of the standbys.
	Sync bool
	// Settings are lines of postgresql.conf, on every server.
	Settings map[string]string
}

// Cluster is servers that run. Its methods are not safe for concurrent use.
type Cluster struct {
	dir      string
	as       *account
	sync     bool
	nodes    []*Node // all that were started
	primary  *Node
	standbys []*Node
}

// Start starts a cluster that ends with the test, and fails the test if that cannot be done.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// New starts a cluster that several tests share. Close it.
func New(o Options) (c *Cluster, err error) {
	if _, err := os.Stat(filepath.Join(binaries, "initdb")); err != nil {
		return nil, fmt.Errorf("couldn't find PostgreSQL 15; tools/bootstrap installs it: %w", err)
	}
	c = &Cluster{sync: o.Sync}
	if c.as, err = serverAccount(); err != nil {
		return nil, err
	}
	// Short, because a socket's path may only be about a hundred bytes long.
	if c.dir, err = os.MkdirTemp(o.Dir, "pg"); err != nil {
		return nil, fmt.Errorf("couldn't make a directory for the servers: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if err := c.as.own(c.dir); err != nil {
		return nil, err
	}
	if c.primary, err = c.initPrimary(o); err != nil {
		return nil, err
	}
	if err := c.primary.run(); err != nil {
		return nil, err
	}
	for n := range o.Standbys {
		s, err := c.cloneStandby("standby" + strconv.Itoa(n+1))
		if err != nil {
			return nil, err
		}
		c.standbys = append(c.standbys, s)
		if err := s.run(); err != nil {
			return nil, err
		}
	}
	return c, c.attach(o)
}

// Primary is the server that was started as the primary; after Failover the one that replaced it.
func (c *Cluster) Primary() *Node { return c.primary }

// Standbys are the servers that were started as standbys; after Failover those that are left.
func (c *Cluster) Standbys() []*Node { return c.standbys }

// Close ends the servers at once and removes what they wrote.
func (c *Cluster) Close() error {
	var errs []error
	for _, n := range c.nodes {
		if n.running() {
			errs = append(errs, n.end(quitNow))
		}
	}
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
}

// attach waits until the standbys follow, and only then makes commits wait for them.
func (c *Cluster) attach(o Options) error {
	if o.Standbys == 0 {
		return nil
	}
	want := strconv.Itoa(o.Standbys)
	if err := c.primary.until(want, `SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'`); err != nil {
		return err
	}
	if !o.Sync {
		return nil
	}
	if err := c.primary.Set("synchronous_standby_names", anyOne); err != nil {
		return err
	}
	return c.primary.until(want, quorum)
}

// account is whom the servers run as: PostgreSQL refuses to run as root.
type account struct {
	switched bool
	uid, gid int
}

func serverAccount() (*account, error) {
	if os.Getuid() != 0 {
		return &account{uid: os.Getuid(), gid: os.Getgid()}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("couldn't find the user that PostgreSQL runs as: %w", err)
	}
	uid, uidErr := strconv.Atoi(u.Uid)
	gid, gidErr := strconv.Atoi(u.Gid)
	return &account{switched: true, uid: uid, gid: gid}, errors.Join(uidErr, gidErr)
}

// own gives a directory tree to the servers' account.
func (a *account) own(dir string) error {
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !a.switched {
			return err
		}
		return os.Lchown(path, a.uid, a.gid)
	})
	if err != nil {
		return fmt.Errorf("couldn't give %s to the servers: %w", dir, err)
	}
	return nil
}

//go:build unix

package pgcluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The signals by which a postmaster stops: refusing the sessions that are there, or as if it crashed.
const (
	quitFast = syscall.SIGINT
	quitNow  = syscall.SIGQUIT
)

// Node is one server.
type Node struct {
	name string
	data string
	port int
	as   *account

	cmd    *exec.Cmd
	ended  chan struct{} // closed when cmd has
	paused []int         // processes that were stopped
}

// base is every server's configuration before Options.Settings.
var base = map[string]string{
	"listen_addresses":            "127.0.0.1",
	"fsync":                       "on",
	"max_connections":             "60",
	"shared_buffers":              "32MB",
	"max_wal_senders":             "8",
	"wal_keep_size":               "64MB",
	"wal_log_hints":               "on",
	"wal_retrieve_retry_interval": "200ms",
	"logging_collector":           "off",
	"unix_socket_directories":     "",
}

// initPrimary makes the data directory of a primary.
func (c *Cluster) initPrimary(o Options) (*Node, error) {
	n, err := c.node("primary")
	if err != nil {
		return nil, err
	}
	_, err = n.tool("initdb", "--pgdata="+n.data, "--no-sync", "--auth=trust", "--username="+Superuser,
		"--encoding=UTF8", "--locale=C", "--data-checksums")
	if err != nil {
		return nil, err
	}
	var conf strings.Builder
	for _, settings := range []map[string]string{base, o.Settings} {
		for name, value := range settings {
			fmt.Fprintf(&conf, "%s = %s\n", name, quote(value))
		}
	}
	f, err := os.OpenFile(filepath.Join(n.data, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("couldn't configure %s: %w", n.name, err)
	}
	_, err = f.WriteString(conf.String())
	return n, errors.Join(err, f.Close())
}

// cloneStandby copies the primary.
func (c *Cluster) cloneStandby(name string) (*Node, error) {
	n, err := c.node(name)
	if err != nil {
		return nil, err
	}
	_, err = n.tool("pg_basebackup", "--pgdata="+n.data, "--dbname="+n.from(c.primary), "--write-recovery-conf",
		"--wal-method=stream", "--checkpoint=fast", "--no-sync")
	return n, err
}

// from is how a server follows another.
func (n *Node) from(other *Node) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=%s application_name=%s", other.port, Superuser, n.name)
}

func (c *Cluster) node(name string) (*Node, error) {
	// The port may be taken by somebody else between here and the server's start; then that fails, loudly.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("couldn't find a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	n := &Node{name: name, data: filepath.Join(c.dir, name), port: port, as: c.as}
	c.nodes = append(c.nodes, n)
	return n, l.Close()
}

// Name is primary, standby1, standby2 …
func (n *Node) Name() string { return n.name }

// Addr is where the server listens, host:port.
func (n *Node) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port)) }

// PID is the postmaster's process: its children are the server's others.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// DSN is a connection string for a role and a database.
func (n *Node) DSN(role, database string) string {
	return fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", role, n.Addr(), database)
}

// Start starts a server that was stopped, and waits until it takes connections.
func (n *Node) Start() error {
	if n.running() {
		return fmt.Errorf("couldn't start %s: it runs", n.name)
	}
	return n.run()
}

// Stop ends the server cleanly.
func (n *Node) Stop() error { return n.end(quitFast) }

// Kill9 ends the server and all of its processes as a loss of power would, but for the page cache.
func (n *Node) Kill9() error {
	// The postmaster first, so that it starts nothing anew.
	pids := append([]int{n.cmd.Process.Pid}, n.children()...)
	for _, pid := range append(pids, n.paused...) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	n.paused = nil
	return n.wait()
}

// Pause freezes the server: its connections stay open, and nobody answers.
func (n *Node) Pause() error {
	pids := append([]int{n.cmd.Process.Pid}, n.children()...)
	for i, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil && (i == 0 || !errors.Is(err, syscall.ESRCH)) {
			return fmt.Errorf("couldn't pause %s: %w", n.name, err)
		}
	}
	n.paused = pids
	return nil
}

// Resume lets a paused server go on.
func (n *Node) Resume() error {
	for i, pid := range n.paused {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil && (i == 0 || !errors.Is(err, syscall.ESRCH)) {
			return fmt.Errorf("couldn't resume %s: %w", n.name, err)
		}
	}
	n.paused = nil
	return nil
}

// Set changes a setting that needs no restart, for good.
func (n *Node) Set(name, value string) error {
	if _, err := n.SQL("postgres", "ALTER SYSTEM SET "+name+" = "+quote(value)); err != nil {
		return err
	}
	_, err := n.SQL("postgres", "SELECT pg_reload_conf()")
	return err
}

// SQL runs statements as the superuser, and returns what they print: a line each row, columns between
// bars.
func (n *Node) SQL(database, statements string) (string, error) {
	out, err := n.tool("psql", "--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--set=ON_ERROR_STOP=1",
		"--dbname="+n.DSN(Superuser, database), "--command="+statements)
	return strings.TrimSpace(out), err
}

// until waits until a query prints what is wanted.
func (n *Node) until(want, query string) error {
	var out string
	var err error
	for range patience / (50 * time.Millisecond) {
		if out, err = n.SQL("postgres", query); err == nil && out == want {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.Join(fmt.Errorf("couldn't bring %s to it: %s is %q, not %q", n.name, query, out, want), err)
}

// tool runs one of PostgreSQL's programs to its end.
func (n *Node) tool(name string, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(binaries, name), args...) //nolint:gosec // programs of ours, for tests
	cmd.Dir = filepath.Dir(n.data)
	cmd.SysProcAttr = n.as.attributes()
	cmd.Env = append(os.Environ(), "LC_ALL=C", "PGCONNECT_TIMEOUT=10")
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("couldn't run %s for %s: %w: %s", name, n.name, err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// quote writes a value as postgresql.conf and SQL take it.
func quote(value string) string { return "'" + strings.ReplaceAll(value, "'", "''") + "'" }

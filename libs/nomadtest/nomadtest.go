// Package nomadtest starts Nomad for tests: one real server, and a client in each datacenter, on loopback.
// Each agent is the first process of namespaces of its own, so that its tasks and mounts go when it does,
// however that is. It needs root, as Nomad's clients do.
package nomadtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// patience is how long anything is waited for, asked for every poll; a busy machine takes ten times what an idle one does.
const (
	patience = 90 * time.Second
	poll     = 50 * time.Millisecond
)

// nobody is where no Consul is.
const nobody = "127.0.0.1:1"

// Namespace is the one that jobs of a vote are in; Start makes it.
const Namespace = "popvote"

// Config is what a test may want. Zero values are the defaults.
type Config struct {
	// Datacenters have a client each, of the datacenter's name ("cloud-a" alone). The server is in the first, and no client.
	Datacenters []string
	// ACL has Nomad ask for tokens.
	ACL bool
	// Consul is where each datacenter's client registers services, host:port; none by default. Clients can't share one:
	// each takes out what it doesn't know.
	Consul []string
}

// Nomad is a server and its clients. Its methods are for the test's own goroutine.
type Nomad struct {
	// Token may do everything, where tokens are asked for.
	Token string

	t       testing.TB
	server  *agent
	agents  map[string]*agent // the clients, by datacenter
	address string
}

type agent struct {
	data  string
	cmd   *exec.Cmd
	ended chan struct{} // closed when cmd has
	log   string
}

// Start starts Nomad, waits until all of its clients are ready, and ends it with the test. A machine without Nomad, or
// a user who isn't root, fails the test.
func Start(t testing.TB, cfg Config) *Nomad {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("Nomad's clients need root: namespaces, cgroups, mounts")
	}
	if len(cfg.Datacenters) == 0 {
		cfg.Datacenters = []string{"cloud-a"}
	}
	binary, err := find()
	if err != nil {
		t.Fatal(err)
	}
	if there := groups(t); len(there) == 0 {
		t.Cleanup(func() { remove(t, groups(t)) })
	}
	n := &Nomad{t: t, agents: map[string]*agent{}}
	free := ports(t, 3)
	n.address = "127.0.0.1:" + free[0]
	n.server = n.start(binary, configure(cfg.Datacenters[0], "server", free, cfg.ACL, nobody, `
server {
  enabled           = true
  bootstrap_expect  = 1
  # A client that is gone is noticed after some two seconds.
  heartbeat_grace   = "1s"
  min_heartbeat_ttl = "1s"
  default_scheduler_config { scheduler_algorithm = "spread" }
}`))
	n.Await("a leader", func() error {
		var leader string
		err := n.Ask("GET", "/v1/status/leader", nil, &leader)
		if err == nil && leader == "" {
			err = errors.New("there is none")
		}
		return err
	})
	// Only now: a client that finds no leader waits half a minute before it asks again.
	for i, datacenter := range cfg.Datacenters {
		consul := nobody
		if cfg.Consul != nil {
			consul = cfg.Consul[i]
		}
		n.agents[datacenter] = n.start(binary, configure(datacenter, datacenter, ports(t, 3), cfg.ACL, consul, fmt.Sprintf(`
client {
  enabled           = true
  servers           = ["127.0.0.1:%s"]
  network_interface = "lo"
  cpu_total_compute = 100000
  memory_total_mb   = 100000
  options {
    # They would wait for a metadata service that no loopback has.
    "fingerprint.denylist" = "env_aws,env_azure,env_digitalocean,env_gce"
  }
}`, free[1])))
	}
	if cfg.ACL {
		var all struct{ SecretID string }
		n.Must("POST", "/v1/acl/bootstrap", nil, &all)
		n.Token = all.SecretID
	}
	n.Must("PUT", "/v1/namespace/"+Namespace, map[string]any{"Name": Namespace}, nil)
	n.Await("all clients ready", func() error {
		var nodes []struct {
			Name, Status string
			Drivers      map[string]struct{ Healthy bool }
		}
		if err := n.Ask("GET", "/v1/nodes", nil, &nodes); err != nil {
			return err
		}
		ready := 0
		for _, node := range nodes {
			if node.Status == "ready" && node.Drivers["raw_exec"].Healthy {
				ready++
			}
		}
		if ready != len(cfg.Datacenters) {
			return fmt.Errorf("%d of %d are", ready, len(cfg.Datacenters))
		}
		return nil
	})
	return n
}

// configure returns an agent's configuration, but for its directory.
func configure(datacenter, name string, free []string, acl bool, consul, role string) string {
	return fmt.Sprintf(`
region               = "popvote"
datacenter           = %q
name                 = %q
bind_addr            = "127.0.0.1"
disable_update_check = true
log_level            = "warn"
ports {
  http = %s
  rpc  = %s
  serf = %s
}
advertise {
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}
acl { enabled = %t }
plugin "raw_exec" {
  config { enabled = true }
}
consul {
  address          = %q
  auto_advertise   = false
  client_auto_join = false
  server_auto_join = false
}
`, datacenter, name, free[0], free[1], free[2], acl, consul) + role
}

func (n *Nomad) start(binary, config string) *agent {
	n.t.Helper()
	// A short name: that of a socket is short, and a test's may not be.
	dir, err := os.MkdirTemp("", "nomad")
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	a := &agent{data: filepath.Join(dir, "data"), ended: make(chan struct{}), log: filepath.Join(dir, "log")}
	path := filepath.Join(dir, "nomad.hcl")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		n.t.Fatal(err)
	}
	out, err := os.Create(a.log)
	if err != nil {
		n.t.Fatal(err)
	}
	defer func() { _ = out.Close() }() // the agent has it
	a.cmd = exec.Command("sh", "-c", `mount --make-rprivate / && mount -t proc proc /proc && exec "$@"`, "nomad",
		binary, "agent", "-config="+path, "-data-dir="+a.data)
	// A proxy of this machine isn't asked for what is on this machine, and a token of somebody's is none of this Nomad's.
	a.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir, "NO_PROXY=*", "no_proxy=*", "CHECKPOINT_DISABLE=1"}
	a.cmd.Stdout, a.cmd.Stderr = out, out
	a.cmd.SysProcAttr = attributes()
	if err := a.cmd.Start(); err != nil {
		n.t.Fatalf("couldn't start Nomad: %v", err)
	}
	go func() {
		_ = a.cmd.Wait() // how it went is in its log
		close(a.ended)
	}()
	n.t.Cleanup(func() {
		a.kill()
		if said, _ := os.ReadFile(a.log); n.t.Failed() {
			n.t.Logf("Nomad said:\n%s", said[max(0, len(said)-10_000):])
		}
	})
	return a
}

func (a *agent) kill() {
	_ = a.cmd.Process.Kill() // it may have ended
	<-a.ended
}

// Addr is where the server answers HTTP, host:port.
func (n *Nomad) Addr() string { return n.address }

// Kill ends the client of a datacenter, and all that runs there, at once.
func (n *Nomad) Kill(datacenter string) { n.agents[datacenter].kill() }

// Freeze stops the server: connections stay open, and nobody answers. It stays so.
func (n *Nomad) Freeze() {
	n.t.Helper()
	if err := n.server.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		n.t.Fatalf("couldn't stop Nomad: %v", err)
	}
}

// Secrets is the directory of a task's secrets, as its client sees it: with its tokens, and its socket to Nomad.
func (n *Nomad) Secrets(datacenter, allocation, task string) string {
	n.t.Helper()
	a := n.agents[datacenter]
	dir, err := os.MkdirTemp("", "task")
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	link := filepath.Join(dir, "secrets")
	// Into the namespace where it is mounted. A socket's path has to be short, and this one isn't.
	inside := fmt.Sprintf("/proc/%d/root%s", a.cmd.Process.Pid, filepath.Join(a.data, "alloc", allocation, task, "secrets"))
	if err := os.Symlink(inside, link); err != nil {
		n.t.Fatal(err)
	}
	return link
}

// Ask sends the server a request, with a JSON body if there is one, and reads the JSON answer into into.
func (n *Nomad) Ask(method, path string, body, into any) error {
	var sent io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(encoded)
	}
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+n.address+path, sent)
	if err != nil {
		return err
	}
	request.Header.Set("X-Nomad-Token", n.Token)
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }() // only read
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, path, response.Status, answer)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

// Must asks what has to work at once.
func (n *Nomad) Must(method, path string, body, into any) {
	n.t.Helper()
	if err := n.Ask(method, path, body, into); err != nil {
		n.t.Fatal(err)
	}
}

// Await tries until it works, and fails the test if it doesn't in time.
func (n *Nomad) Await(what string, try func() error) {
	n.t.Helper()
	var last error
	for range patience / poll {
		if last = try(); last == nil {
			return
		}
		select {
		case <-n.t.Context().Done():
			n.t.Fatalf("not %s: %v", what, last)
		case <-time.After(poll):
		}
	}
	n.t.Fatalf("not %s within %v: %v", what, patience, last)
}

// find looks for the program from the package's directory upwards.
func find() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		path := filepath.Join(dir, "bin", "tools", "nomad")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("there is no bin/tools/nomad: run make cluster-tools")
		}
		dir = up
	}
}

// ports returns free ones; they are kept until all are found, so that no two are the same.
func ports(t testing.TB, n int) (free []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		free = append(free, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return free
}

// groups returns the control groups that Nomad makes for itself, the innermost first. It doesn't remove them when it goes.
func groups(t testing.TB) (all []string) {
	for _, pattern := range []string{"nomad.slice/*.slice", "nomad.slice", "*/nomad/share", "*/nomad/reserve", "*/nomad"} {
		some, err := filepath.Glob("/sys/fs/cgroup/" + pattern)
		if err != nil {
			t.Error(err)
		}
		all = append(all, some...)
	}
	return all
}

// remove removes directories; a control group that somebody is in stays.
func remove(t testing.TB, directories []string) {
	for _, directory := range directories {
		if err := os.Remove(directory); err != nil && !errors.Is(err, syscall.EBUSY) && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	}
}

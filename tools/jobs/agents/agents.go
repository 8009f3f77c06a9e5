// Package agents starts Consul, Vault and Nomad of bin/tools on loopback for the tests of the jobs.
package agents

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Patience is how long anything is waited for; a busy machine takes ten times what an idle one does.
const Patience = 90 * time.Second

// Path returns where a program of bin/tools is.
func Path(t testing.TB, name string) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	path, err := filepath.Abs(filepath.Join(filepath.Dir(here), "../../../bin/tools", name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%v; run make cluster-tools", err)
	}
	return path
}

// Glob returns the files that match, which are at least so many: a test of no files proves nothing.
func Glob(t testing.TB, pattern string, least int) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) < least {
		t.Fatalf("%s: %d files, want at least %d: %v", pattern, len(found), least, err)
	}
	return found
}

// Parse returns the JSON that Nomad makes of a job file and a file of variables. Job files name other files as seen
// from their own directory, and that is where Nomad has to be run.
func Parse(t testing.TB, path, vars string) ([]byte, error) {
	t.Helper()
	vars, err := filepath.Abs(vars)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), Path(t, "nomad"), "job", "run", "-output", "-var-file="+vars, filepath.Base(path))
	command.Dir = filepath.Dir(path)
	var complaint bytes.Buffer
	command.Stderr = &complaint
	out, err := command.Output()
	if err != nil {
		err = fmt.Errorf("couldn't parse %s with %s: %w\n%s", path, vars, err, complaint.Bytes())
	}
	return out, err
}

// Program is a running one.
type Program struct {
	testing.TB
	Address string // of its HTTP API
	Header  http.Header
	Process *os.Process
	Gone    chan struct{} // closed when it has exited
}

// Start runs a program until the test ends.
func Start(t testing.TB, address, path string, args ...string) *Program {
	t.Helper()
	return start(t, address, exec.Command(path, args...))
}

func start(t testing.TB, address string, command *exec.Cmd) *Program {
	t.Helper()
	path := command.Path
	log, err := os.Create(filepath.Join(t.TempDir(), filepath.Base(path)+".log"))
	if err != nil {
		t.Fatal(err)
	}
	command.Stdout, command.Stderr = log, log
	// A proxy of this machine is not asked for what is on this machine, and nobody is told that it runs.
	command.Env = append(os.Environ(), "NO_PROXY=*", "no_proxy=*", "CHECKPOINT_DISABLE=1", "TMPDIR="+temporary(t))
	// Whoever kills the test kills what it started.
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := command.Start(); err != nil {
		t.Fatalf("couldn't start %s: %v", path, err)
	}
	p := &Program{TB: t, Address: address, Header: http.Header{}, Process: command.Process, Gone: make(chan struct{})}
	go func() {
		defer close(p.Gone)
		command.Wait() //nolint:errcheck // how it went is in its log
	}()
	t.Cleanup(func() {
		p.Stop()
		log.Close()
		if said, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("%s said:\n%s", path, said[max(0, len(said)-20_000):])
		}
	})
	return p
}

// temporary is where a program leaves its sockets. It has a short name: that of a socket is short, and a test's may not be.
func temporary(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "popvote")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// For returns the same program for a part of the test.
func (p *Program) For(t testing.TB) *Program {
	other := *p
	other.TB = t
	return &other
}

// Stop asks the program to go, and kills it if it doesn't.
func (p *Program) Stop() {
	p.Helper()
	p.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may be gone
	select {
	case <-p.Gone:
	case <-time.After(Patience):
		p.Error("it didn't stop when it was asked to")
		p.Process.Kill() //nolint:errcheck // it may be gone
		<-p.Gone
	}
}

// Ask sends a request, with a JSON body if there is one, and reads the JSON answer into into.
func (p *Program) Ask(method, path string, body, into any) error {
	var sent io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(encoded)
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+p.Address+path, sent)
	if err != nil {
		return err
	}
	request.Header = p.Header.Clone()
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
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
func (p *Program) Must(method, path string, body, into any) {
	p.Helper()
	if err := p.Ask(method, path, body, into); err != nil {
		p.Fatal(err)
	}
}

// Await asks until the answer is as it should be.
func (p *Program) Await(what string, try func() error) {
	p.Helper()
	began := time.Now()
	for {
		err := try()
		if err == nil {
			p.Logf("%s after %.1f s", what, time.Since(began).Seconds())
			return
		}
		select {
		case <-p.Gone:
			p.Fatalf("it exited before %s: %v", what, err)
		case <-time.After(50 * time.Millisecond):
		}
		if time.Since(began) > Patience {
			p.Fatalf("not %s after %s: %v", what, Patience, err)
		}
	}
}

func (p *Program) leader() {
	p.Helper()
	p.Await("leader elected", func() error {
		var leader string
		err := p.Ask("GET", "/v1/status/leader", nil, &leader)
		if err == nil && leader == "" {
			err = errors.New("there is none")
		}
		return err
	})
}

// Ports returns free ones; they are kept until all are found, so that no two are the same.
func Ports(t testing.TB, n int) (free []string) {
	t.Helper()
	for range n {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		free = append(free, strconv.Itoa(listener.Addr().(*net.TCPAddr).Port))
	}
	return free
}

// Write writes a file into a directory of the test's and returns its path.
func Write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Consul starts one that is a whole cluster.
func Consul(t testing.TB) *Program { return consul(t, "-hcl=ports { dns = -1 }") }

// GuardedConsul starts one that denies what no policy allows, and answers DNS at the address given as well. Its
// header has the token of whoever may do everything.
func GuardedConsul(t testing.TB) (guarded *Program, dns string) {
	t.Helper()
	root, port := rand.Text(), Ports(t, 1)[0]
	guarded = consul(t, "-hcl="+fmt.Sprintf(`
ports { dns = %s }
acl {
  enabled        = true
  default_policy = "deny"
  tokens {
    initial_management = %q
    agent              = %q
  }
}`, port, root, root))
	guarded.Header.Set("X-Consul-Token", root)
	guarded.Await("able to check tokens", func() error { return guarded.Ask("GET", "/v1/acl/token/self", nil, nil) })
	return guarded, "127.0.0.1:" + port
}

func consul(t testing.TB, more ...string) *Program {
	t.Helper()
	free := Ports(t, 4)
	consul := Start(t, "127.0.0.1:"+free[0], Path(t, "consul"), append([]string{
		"agent", "-server", "-bootstrap-expect=1", "-node=jobs",
		"-bind=127.0.0.1", "-client=127.0.0.1", "-data-dir=" + t.TempDir(), "-disable-host-node-id", "-log-level=warn",
		"-http-port=" + free[0], "-server-port=" + free[1], "-serf-lan-port=" + free[2], "-serf-wan-port=" + free[3],
		"-grpc-port=-1", "-grpc-tls-port=-1",
		"-hcl=disable_update_check = true", "-hcl=performance { raft_multiplier = 1 }",
	}, more...)...)
	consul.leader()
	return consul
}

// Vault starts one that keeps nothing and is open, with the root token "root".
func Vault(t testing.TB) *Program {
	t.Helper()
	free := Ports(t, 1)
	vault := Start(t, "127.0.0.1:"+free[0], Path(t, "vault"), "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root",
		"-dev-listen-address=127.0.0.1:"+free[0], "-log-level=warn")
	vault.Header.Set("X-Vault-Token", "root")
	vault.Await("active", func() error { return vault.Ask("GET", "/v1/sys/health", nil, nil) })
	return vault
}

// Nomad starts one that is server and client, in the datacenter and the pool given, with our namespace. Its workloads
// log in to Vault by auth/jwt-nomad; and to Consul by nomad-workloads, if Consul has a token for Nomad.
func Nomad(t testing.TB, datacenter, pool string, consul, vault *Program) *Program {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("Nomad's clients need root: namespaces, cgroups, mounts")
	}
	free := Ports(t, 3)
	data := t.TempDir()
	if there := groups(t); len(there) == 0 {
		t.Cleanup(func() { remove(t, groups(t)) })
	}
	// In namespaces of its own, in which it is the first process: when it goes, however it goes, its tasks and mounts do.
	command := exec.Command("sh", "-c", `mount --make-rprivate / && mount -t proc proc /proc && exec "$@"`, "nomad",
		Path(t, "nomad"), "agent", "-config="+Write(t, "nomad.hcl", fmt.Sprintf(`
name                 = "jobs"
region               = "popvote"
datacenter           = %q
data_dir             = %q
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
server {
  enabled          = true
  bootstrap_expect = 1
}
client {
  enabled           = true
  network_interface = "lo"
  node_pool         = %q
  cpu_total_compute = 100000
  memory_total_mb   = 100000
  options {
    # They would wait for a metadata service that no loopback has.
    "fingerprint.denylist" = "env_aws,env_azure,env_digitalocean,env_gce"
  }
}
plugin "raw_exec" {
  config {
    enabled = true
  }
}
consul {
  address          = %q
  auto_advertise   = false
  client_auto_join = false
  server_auto_join = false
%s}
vault {
  enabled               = true
  address               = "http://%s"
  jwt_auth_backend_path = "jwt-nomad"
  default_identity {
    aud = ["vault.io"]
    ttl = "1h"
  }
}
`, datacenter, data, free[0], free[1], free[2], pool, consul.Address, guard(consul), vault.Address)))
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	nomad := start(t, "127.0.0.1:"+free[0], command)
	nomad.leader()
	nomad.Must("PUT", "/v1/namespace/popvote", map[string]any{"Name": "popvote"}, nil)
	nomad.Await("client ready", func() error {
		var nodes []struct {
			ID, Status string
			Drivers    map[string]struct{ Healthy bool }
		}
		if err := nomad.Ask("GET", "/v1/nodes", nil, &nodes); err != nil {
			return err
		}
		if len(nodes) != 1 || nodes[0].Status != "ready" || !nodes[0].Drivers["raw_exec"].Healthy || !nodes[0].Drivers["exec"].Healthy {
			return fmt.Errorf("the nodes are %+v", nodes)
		}
		var node struct{ Attributes map[string]string }
		if err := nomad.Ask("GET", "/v1/node/"+nodes[0].ID, nil, &node); err != nil {
			return err
		}
		if node.Attributes["vault.version"] == "" || node.Attributes["consul.version"] == "" {
			return errors.New("it hasn't found Consul and Vault")
		}
		return nil
	})
	return nomad
}

// guard is what packer/files/nomad.d/nomad.hcl says of workloads and Consul.
func guard(consul *Program) string {
	token := consul.Header.Get("X-Consul-Token")
	if token == "" {
		return ""
	}
	return fmt.Sprintf(`  token = %q
  service_identity {
    aud = ["consul.io"]
    ttl = "1h"
  }
  task_identity {
    aud = ["consul.io"]
    ttl = "1h"
  }
`, token)
}

// Patroni starts one with a PostgreSQL of its own, as the user postgres, and returns when it knows its leader.
func Patroni(t testing.TB, consul *Program) *Program {
	t.Helper()
	free := Ports(t, 2)
	dir := temporary(t)
	for _, command := range [][]string{{"mkdir", dir + "/data"}, {"chown", "-R", "postgres:postgres", dir}} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	config := filepath.Join(dir, "patroni.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
scope: popvote-db
name: jobs
restapi: {listen: "127.0.0.1:%[1]s", connect_address: "127.0.0.1:%[1]s"}
consul: {host: "%[2]s", scheme: http, consistency: consistent, register_service: true, token: "%[3]s"}
watchdog: {mode: "off"}
bootstrap:
  dcs: {ttl: 20, loop_wait: 5, retry_timeout: 5, failsafe_mode: true}
  initdb: [{encoding: UTF8}, {locale: C.UTF-8}, {auth-local: trust}, {auth-host: reject}]
postgresql:
  listen: 127.0.0.1:%[4]s
  connect_address: 127.0.0.1:%[4]s
  data_dir: %[5]s/data
  bin_dir: /usr/lib/postgresql/15/bin
  pgpass: %[5]s/pgpass
  use_unix_socket: true
  authentication: {superuser: {username: postgres}, replication: {username: replicator}}
  pg_hba: [local all all trust]
  parameters: {unix_socket_directories: %[5]s, fsync: "off", dynamic_shared_memory_type: mmap}
`, free[0], consul.Address, consul.Header.Get("X-Consul-Token"), free[1], dir), 0o644); err != nil {
		t.Fatal(err)
	}
	// PostgreSQL outlives a Patroni that is killed, and its shared memory a PostgreSQL that is: in namespaces they don't.
	command := exec.Command("sh", "-c", `mount --make-rprivate / && mount -t proc proc /proc &&
		exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"`, "patroni", "patroni", config)
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC}
	patroni := start(t, "127.0.0.1:"+free[0], command)
	patroni.Await("leader", func() error { return patroni.Ask("GET", "/leader", nil, nil) })
	return patroni
}

// groups returns the control groups that Nomad makes for itself, the innermost first. It doesn't remove them when it
// goes, and calls them the same whatever cgroup_parent says.
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
		if err := os.Remove(directory); err != nil && !errors.Is(err, syscall.EBUSY) {
			t.Error(err)
		}
	}
}

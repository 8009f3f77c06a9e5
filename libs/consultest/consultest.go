// Package consultest starts Consul agents for tests: real servers, which can be killed, frozen and
// started again, with or without what they knew. Nothing of them is left when the test is over.
package consultest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
)

// startTime is how long a leader may take to be there, asked for every poll; it takes some 2 s where
// nothing else runs.
const (
	startTime = 60 * time.Second
	poll      = 25 * time.Millisecond
)

// Config is what a test may want of its agents. Zero values are the defaults.
type Config struct {
	// Servers is how many there are (1); all must be up before there is a leader.
	Servers int
	// Datacenter is their name together ("dc1").
	Datacenter string
	// Cloud is their nodes' meta "cloud"; none by default.
	Cloud string
	// Beside is a server of another datacenter to federate with.
	Beside *Agent
	// Tokens has nobody do anything without one: the agents' own clients have one for everything, and
	// Agent.Token makes others.
	Tokens bool
}

// management is the token for everything.
const management = "00000000-0000-0000-0000-000000000001"

// Agent is one Consul server. Its methods are for the test's own goroutine, except Client and Addr.
type Agent struct {
	t      testing.TB
	binary string
	name   string
	data   string
	args   []string
	ports  ports
	client *api.Client

	cmd   *exec.Cmd
	out   *os.File
	ended chan struct{} // closed when cmd has
}

type ports struct{ http, server, lan, wan int }

// Start starts one server, and ends it with the test. A machine without Consul fails the test.
func Start(t testing.TB) *Agent { return StartWith(t, Config{})[0] }

// StartWith starts servers, waits until they have a leader, and ends them with the test.
func StartWith(t testing.TB, cfg Config) []*Agent {
	t.Helper()
	if cfg.Servers == 0 {
		cfg.Servers = 1
	}
	if cfg.Datacenter == "" {
		cfg.Datacenter = "dc1"
	}
	binary, err := find()
	if err != nil {
		t.Fatal(err)
	}
	// A port may be taken by somebody else between here and the start: then others are tried.
	for range 5 {
		var agents []*Agent
		if agents, err = startAll(t, binary, cfg); err == nil {
			return agents
		}
	}
	t.Fatalf("couldn't start Consul: %v", err)
	return nil
}

// find looks for the program from the package's directory upwards.
func find() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		path := filepath.Join(dir, "bin", "tools", "consul")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("there is no bin/tools/consul: run make cluster-tools")
		}
		dir = up
	}
}

func startAll(t testing.TB, binary string, cfg Config) (agents []*Agent, err error) {
	defer func() {
		if err != nil {
			for _, a := range agents {
				a.Kill()
			}
		}
	}()
	for i := range cfg.Servers {
		a := &Agent{t: t, binary: binary, name: fmt.Sprintf("%s-%d", cfg.Datacenter, i), data: t.TempDir()}
		if a.ports, err = freePorts(); err != nil {
			return agents, err
		}
		raft := 1 // the fastest
		if cfg.Servers > 1 {
			raft = 3 // a busy machine must not cost the leader its office
		}
		a.args = []string{
			"agent", "-server", fmt.Sprintf("-bootstrap-expect=%d", cfg.Servers), "-node=" + a.name, "-datacenter=" + cfg.Datacenter,
			"-bind=127.0.0.1", "-client=127.0.0.1", "-disable-host-node-id", "-log-level=warn",
			fmt.Sprintf("-http-port=%d", a.ports.http), fmt.Sprintf("-server-port=%d", a.ports.server),
			fmt.Sprintf("-serf-lan-port=%d", a.ports.lan), fmt.Sprintf("-serf-wan-port=%d", a.ports.wan),
			"-dns-port=-1", "-grpc-port=-1", "-grpc-tls-port=-1",
			"-hcl=disable_update_check = true", fmt.Sprintf("-hcl=performance { raft_multiplier = %d }", raft),
		}
		if cfg.Cloud != "" {
			a.args = append(a.args, "-node-meta=cloud:"+cfg.Cloud)
		}
		if i > 0 {
			a.args = append(a.args, fmt.Sprintf("-retry-join=127.0.0.1:%d", agents[0].ports.lan), "-retry-interval=1s")
		}
		if cfg.Beside != nil {
			a.args = append(a.args, fmt.Sprintf("-retry-join-wan=127.0.0.1:%d", cfg.Beside.ports.wan), "-retry-interval-wan=1s")
		}
		settings := &api.Config{Address: a.Addr()}
		if cfg.Tokens {
			settings.Token = management
			a.args = append(a.args, fmt.Sprintf(`-hcl=acl { enabled = true, default_policy = "deny", tokens { initial_management = %q, agent = %[1]q } }`, management))
		}
		if a.client, err = api.NewClient(settings); err != nil {
			return agents, err
		}
		if err = a.run(); err != nil {
			return agents, err
		}
		agents = append(agents, a)
		t.Cleanup(a.Kill)
	}
	for _, a := range agents {
		if err = a.leader(); err != nil {
			return agents, err
		}
	}
	return agents, nil
}

func freePorts() (p ports, err error) {
	for _, port := range []*int{&p.http, &p.server, &p.lan, &p.wan} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return p, err
		}
		defer func() { _ = l.Close() }() // all are open at once, so that they differ
		*port = l.Addr().(*net.TCPAddr).Port
	}
	return p, nil
}

// Addr is where the agent answers HTTP, host:port; the same after another start.
func (a *Agent) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(a.ports.http)) }

// Client asks the agent.
func (a *Agent) Client() *api.Client { return a.client }

// Register adds an instance of a service, or replaces the one of the same ID. Without a check it passes.
func (a *Agent) Register(s *api.AgentServiceRegistration) {
	a.t.Helper()
	if err := a.client.Agent().ServiceRegister(s); err != nil {
		a.t.Fatalf("couldn't register %s: %v", s.Name, err)
	}
}

// RegisterAt is Register for an instance at an address, host:port, which is also its ID, in a cloud; none if
// that is empty.
func (a *Agent) RegisterAt(service, address, cloud string) {
	a.t.Helper()
	host, text, err := net.SplitHostPort(address)
	port, e := strconv.Atoi(text)
	if err = errors.Join(err, e); err != nil {
		a.t.Fatalf("couldn't register %s: %v", service, err)
	}
	s := &api.AgentServiceRegistration{ID: address, Name: service, Address: host, Port: port}
	if cloud != "" {
		s.Meta = map[string]string{"cloud": cloud}
	}
	a.Register(s)
}

// Deregister takes an instance out.
func (a *Agent) Deregister(id string) {
	a.t.Helper()
	if err := a.client.Agent().ServiceDeregister(id); err != nil {
		a.t.Fatalf("couldn't deregister %s: %v", id, err)
	}
}

// Token makes a token that a policy's rules hold for.
func (a *Agent) Token(policy, rules string) string {
	a.t.Helper()
	made, _, err := a.client.ACL().PolicyCreate(&api.ACLPolicy{Name: policy, Rules: rules}, nil)
	if err != nil {
		a.t.Fatalf("couldn't make the policy %s: %v", policy, err)
	}
	token, _, err := a.client.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLLink{{ID: made.ID}}}, nil)
	if err != nil {
		a.t.Fatalf("couldn't make a token: %v", err)
	}
	return token.SecretID
}

// Kill ends the agent at once, if it runs.
func (a *Agent) Kill() {
	_ = a.cmd.Process.Kill() // it may have ended
	<-a.ended
}

// Stop freezes the agent: connections stay open, and nobody answers.
func (a *Agent) Stop() {
	a.t.Helper()
	a.signal(syscall.SIGSTOP)
	// A signal takes a moment to reach every thread.
	for range startTime / poll {
		if a.stopped() {
			return
		}
		time.Sleep(poll)
	}
	a.t.Fatal("Consul doesn't stop")
}

// stopped says whether each thread is; where there is no /proc to ask, it is taken for granted.
func (a *Agent) stopped() bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", a.cmd.Process.Pid))
	if err != nil {
		return false
	}
	for _, path := range threads {
		stat, err := os.ReadFile(path)
		if _, state, _ := bytes.Cut(stat, []byte(") ")); err == nil && !bytes.HasPrefix(state, []byte("T")) {
			return false
		}
	}
	return true
}

// Continue ends Stop.
func (a *Agent) Continue() { a.signal(syscall.SIGCONT) }

func (a *Agent) signal(s syscall.Signal) {
	a.t.Helper()
	if err := a.cmd.Process.Signal(s); err != nil {
		a.t.Fatalf("couldn't signal Consul: %v", err)
	}
}

// Restart kills the agent and starts it again with all it knew, and waits for a leader.
func (a *Agent) Restart() {
	a.t.Helper()
	a.Kill()
	err := a.run()
	if err == nil {
		err = a.leader()
	}
	if err != nil {
		a.t.Fatalf("couldn't start Consul again: %v", err)
	}
}

// RestartEmpty is Restart with a data directory in which nothing is.
func (a *Agent) RestartEmpty() {
	a.t.Helper()
	a.data = a.t.TempDir()
	a.Restart()
}

func (a *Agent) run() error {
	out, err := os.CreateTemp(a.t.TempDir(), "consul-*.log")
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }() // the agent has it
	a.out = out
	a.cmd, a.ended = exec.Command(a.binary, append(a.args, "-data-dir="+a.data)...), make(chan struct{}) //nolint:gosec // our own
	// A token of somebody's environment is none of this agent's.
	a.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + a.data, "CHECKPOINT_DISABLE=1"}
	a.cmd.Stdout, a.cmd.Stderr = out, out
	a.cmd.SysProcAttr = attributes()
	if err := a.cmd.Start(); err != nil {
		close(a.ended)
		return err
	}
	cmd, ended := a.cmd, a.ended
	go func() {
		_ = cmd.Wait() // it is killed
		close(ended)
	}()
	return nil
}

// leader waits until the agent knows a leader, and itself in the catalogue.
func (a *Agent) leader() error {
	var last error
	for range startTime / poll {
		ctx, cancel := context.WithTimeout(a.t.Context(), 2*time.Second)
		found, _, err := a.client.Health().Service("consul", "", true, new(api.QueryOptions).WithContext(ctx))
		cancel()
		for _, one := range found {
			if one.Node.Node == a.name {
				return nil
			}
		}
		last = err
		select {
		case <-a.ended:
			return fmt.Errorf("it ended:\n%s", a.log())
		case <-time.After(poll):
		}
	}
	return fmt.Errorf("there was no leader within %v (%w):\n%s", startTime, last, a.log())
}

func (a *Agent) log() []byte {
	all, err := os.ReadFile(a.out.Name())
	if err != nil {
		return []byte(err.Error())
	}
	return all
}

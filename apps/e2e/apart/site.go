package apart

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/e2e/instance"
	"github.com/popvote/popvote/apps/e2e/voter"
	"github.com/popvote/popvote/libs/consultest"
	"github.com/popvote/popvote/libs/pgcluster"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/redistest"
	"github.com/popvote/popvote/libs/trustee"
)

// Options say what a site is made of.
type Options struct {
	// Popvote is popvote's binary, and Binaries the directory in which Build left the other programs.
	Popvote, Binaries string
	// Postgres has the ballot box on PostgreSQL servers, and Ballots ballot servers share it. Nil: it is on
	// SQLite, in the data directory, and there is one ballot server.
	Postgres *pgcluster.Options
	// Ballots and APIs are how many there are: one ballot server and two API servers where they are 0.
	Ballots, APIs int
	// Consul is where ballot servers and the gateway are registered, and where the others find them, each in a
	// cloud of its own: Cloud(0), Cloud(1), … Nil: each is told the addresses of those that it calls.
	Consul *consultest.Agent
	// Polls are the sample polls that are opened; nil for none.
	Polls []string
	// LogLevel is what the programs log at; empty for debug, which tests that look for leaks read.
	LogLevel string
	// Via says where programs and voters reach what is at an address, host:port: the address of a proxy
	// before it, maybe. It is one of the ViaX names and the address. Nil: there itself.
	Via func(what, address string) string
}

// What lies behind an Options.Via.
const (
	ViaDatabase = "postgresql"    // on the way from the ballot servers
	ViaBallots  = "ballot-server" // on the way from the API servers
	ViaAPIs     = "api-server"
)

// Site is the programs of one site, on a data directory. Its methods, and those of its programs, are for
// one goroutine.
type Site struct {
	// Data is the data directory, which has the key file.
	Data string
	// Database is nil on SQLite. DSN is the file with the ballot servers' DSN, which they read as they start.
	Database *pgcluster.Cluster
	DSN      string

	Redis          *redistest.Server
	Ballots, APIs  []*Program
	Gateway, Panel *Program
	Operator       *Operator

	t            *testing.T
	o            Options
	certificates string
}

// NewSite starts every program by itself and opens polls by the control panel. All of it ends with the test.
func NewSite(t *testing.T, o Options) *Site {
	t.Helper()
	o.Ballots = max(1, o.Ballots)
	if o.APIs == 0 {
		o.APIs = 2
	}
	if o.Via == nil {
		o.Via = func(_, address string) string { return address }
	}
	s := &Site{t: t, o: o, certificates: filepath.Join(t.TempDir(), "certs"), Redis: redistest.Start(t)}
	// One start of popvote makes the key file, as an operator would.
	first := instance.Start(t, o.Popvote, instance.Options{})
	if code := first.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	s.Data = first.Data
	if code, stdout, stderr := instance.Run(t, o.Popvote, "certs", "--dir", s.certificates); code != 0 {
		t.Fatalf("popvote certs: exit code %d\n%s%s", code, stdout, stderr)
	}
	if o.Postgres != nil {
		s.makeDatabase()
	}
	s.startAll()
	s.Operator = LogIn(t, s.Panel)
	for _, id := range o.Polls {
		s.open(id)
	}
	return s
}

// startAll starts the programs, each after those that it calls.
func (s *Site) startAll() {
	s.t.Helper()
	box := []string{"-data", s.Data}
	if s.Database != nil {
		box = append(box, "-database", s.DSN, fmt.Sprintf("-cluster=%t", s.o.Postgres.Sync))
	}
	var all, served []string
	for n := range s.o.Ballots {
		p := s.start("ballot-server", Listeners{"services": {"-listen", freeAddress(s.t)}}, box...)
		s.Ballots = append(s.Ballots, p)
		s.Register(n)
		all = append(all, p.At["services"])
		served = append(served, s.o.Via(ViaBallots, p.At["services"]))
	}
	keys := filepath.Join(s.Data, "keys.json")
	redis := []string{"-redis-addresses", s.Redis.Addr()}
	if s.o.Consul != nil {
		s.o.Consul.RegisterAt("redis", s.Redis.Addr(), "") // of all clouds
		redis = []string{"-consul-address", s.o.Consul.Addr()}
	}
	s.Gateway = s.start("sms-gateway", Listeners{"sending": {"-listen", freeAddress(s.t)}, "phone": {"-phone-listen", freeAddress(s.t)}},
		append(redis, "-simulate", "-keys", keys)...)
	if s.o.Consul != nil {
		s.o.Consul.RegisterAt("sms-gateway", s.Gateway.At["sending"], Cloud(0))
	}
	for n := range s.o.APIs {
		s.APIs = append(s.APIs, s.start("api-server", Listeners{"voters": {"-listen", freeAddress(s.t)}},
			append(s.finds(n, served, s.Gateway.At["sending"]), "-keys", keys, "-inbound-number", "+85264500000",
				"-trusted-proxies", "none", "-challenge-cost", "1", "-limits-scale", "10000", "-drain", "0s")...))
	}
	s.Panel = s.start("control-panel", Listeners{"operators": {"-listen", freeAddress(s.t)}}, s.finds(0, all)...)
}

// Cloud is the name of the n-th cloud.
func Cloud(n int) string { return fmt.Sprintf("cloud-%c", 'a'+n) }

// finds is how a program in the n-th cloud finds ballot servers; and gateways and Redis, if it calls any.
func (s *Site) finds(n int, ballots []string, gateways ...string) []string {
	if s.o.Consul != nil {
		return []string{"-consul-address", s.o.Consul.Addr(), "-cloud", Cloud(n)}
	}
	args := []string{"-ballot-servers", strings.Join(ballots, ",")}
	if len(gateways) > 0 {
		args = append(args, "-sms-gateways", strings.Join(gateways, ","), "-redis-address", s.Redis.Addr())
	}
	return args
}

// Register has Consul, if there is one, know the n-th ballot server, and Deregister forget it.
func (s *Site) Register(n int) {
	s.t.Helper()
	if s.o.Consul != nil {
		s.o.Consul.RegisterAt("ballot-server", s.o.Via(ViaBallots, s.Ballots[n].At["services"]), Cloud(n))
	}
}

// Deregister undoes Register.
func (s *Site) Deregister(n int) {
	s.t.Helper()
	s.o.Consul.Deregister(s.o.Via(ViaBallots, s.Ballots[n].At["services"]))
}

func (s *Site) start(program string, listeners Listeners, args ...string) *Program {
	s.t.Helper()
	listeners["admin"] = struct{ Flag, Address string }{"-admin", freeAddress(s.t)}
	return Start(s.t, filepath.Join(s.o.Binaries, program), listeners, append(args,
		"-tls", filepath.Join(s.certificates, program), "-log-level", cmp.Or(s.o.LogLevel, "debug"))...)
}

// Programs are all of them, in the order in which they stop.
func (s *Site) Programs() []*Program {
	all := append([]*Program{s.Panel, s.Gateway}, s.APIs...)
	return append(all, s.Ballots...)
}

// The tally keys are split among three trustees, two of whom can count.
const (
	trustees = 3
	needed   = 2
)

// open makes a sample poll's tally key, and applies and opens the poll.
func (s *Site) open(id string) {
	s.t.Helper()
	sample, err := poll.Sample(id)
	if err != nil {
		s.t.Fatal(err)
	}
	scalar, public, err := trustee.NewKey()
	if err != nil {
		s.t.Fatal(err)
	}
	shares, err := trustee.Split(scalar, needed, trustees)
	if err != nil {
		s.t.Fatal(err)
	}
	var failed error
	for n, share := range shares {
		failed = errors.Join(failed, share.WriteFile(s.share(id, n+1)))
	}
	if failed != nil {
		s.t.Fatal(failed)
	}
	now := time.Now().Truncate(time.Second)
	s.Operator.Apply(sample.Seeded(public, now, now.Add(24*time.Hour)))
	s.Operator.Move(id, "open")
}

// share is the file of a poll's n-th trustee.
func (s *Site) share(id string, n int) string {
	return filepath.Join(s.Data, fmt.Sprintf("%s-share-%d.json", id, n))
}

// Publish counts and publishes a closed poll, and returns the path of its bundle, which "popvote verify"
// has confirmed.
func (s *Site) Publish(id string) (bundle string) {
	s.t.Helper()
	s.Operator.Count(id, s.share(id, 1), s.share(id, 3))
	s.Operator.Move(id, "publish")
	bundle = s.Operator.Bundle(id)
	if code, stdout, stderr := instance.Run(s.t, s.o.Popvote, "verify", bundle); code != 0 {
		s.t.Errorf("popvote verify: exit code %d\n%s%s", code, stdout, stderr)
	}
	return bundle
}

// Voters connects to an API server with many connections, once it has read that the poll is open.
func (s *Site) Voters(ctx context.Context, api *Program, poll string) *voter.World {
	s.t.Helper()
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	s.t.Cleanup(client.CloseIdleConnections)
	var w *voter.World
	var err error
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if w, err = voter.NewWorld(ctx, "http://"+s.o.Via(ViaAPIs, api.At["voters"]), "http://"+s.Gateway.At["phone"], poll, client); err == nil && w.Manifest.State == "open" {
			return w
		}
	}
	s.t.Fatalf("the poll %s is not open: %v", poll, err)
	return nil
}

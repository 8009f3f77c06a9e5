package discovery

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/libs/consultest"
	"github.com/popvote/popvote/libs/service"
	"github.com/popvote/popvote/libs/service/servicetest"
)

// opened is what a program has of its settings.
type opened struct {
	*site
	Finder
	health   *service.Health
	registry *prometheus.Registry
}

func (o *opened) Find(service string) []Instance { return o.Finder.Find(service) }

func open(t *testing.T, s Settings, services map[string][]string) (*opened, error) {
	t.Helper()
	o := &opened{site: &site{t: t, clock: new(clock), log: new(servicetest.Output)}, health: new(service.Health), registry: prometheus.NewRegistry()}
	var err error
	o.Finder, err = s.Open(t.Context(), services, Deps{
		Clock: o.clock.now, Log: slog.New(slog.NewTextHandler(o.log, nil)), Metrics: o.registry, Health: o.health,
	})
	o.Consul, _ = o.Finder.(*Consul)
	return o, err
}

func TestAddressesThatAreGivenAreUsed(t *testing.T) {
	o, err := open(t, Settings{}, map[string][]string{"ballot-server": {"10.0.0.1:1", "10.0.0.1:2"}, "sms-gateway": nil})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(o.Find("ballot-server")); got != 2 {
		t.Errorf("%d ballot servers", got)
	}
	if got := o.Find("sms-gateway"); len(got) != 0 {
		t.Errorf("gateways that nobody gave: %v", got)
	}
	if r := o.health.Readiness(t.Context()); len(r.Checks) != 0 {
		t.Errorf("without Consul it is %+v", r)
	}
	if all, err := o.registry.Gather(); err != nil || len(all) != 0 {
		t.Errorf("without Consul there are metrics of it: %v %v", all, err)
	}
}

// TestConsulIsFollowed through the settings, and without it the program is degraded and no more.
func TestConsulIsFollowed(t *testing.T) {
	agent := consultest.Start(t)
	register(agent, 1, nil)
	o, err := open(t, Settings{Address: agent.Addr()}, map[string][]string{"ballot-server": nil, "sms-gateway": nil})
	if err != nil {
		t.Fatal(err)
	}
	o.becomes("ballot-server", "10.0.0.1:1")
	register(agent, 2, nil)
	o.becomes("ballot-server", "10.0.0.1:1 10.0.0.1:2")
	agent.Register(&api.AgentServiceRegistration{Name: "sms-gateway", Address: "10.0.0.2", Port: 3})
	o.becomes("sms-gateway", "10.0.0.2:3")
	is := func(state string) func() bool {
		return func() bool { return o.health.Readiness(t.Context()).State == state }
	}
	if !is(service.StateReady)() {
		t.Errorf("with Consul it is %+v", o.health.Readiness(t.Context()))
	}
	agent.Kill()
	o.eventually("a degraded program", is(service.StateDegraded))
	o.eventually("both that nobody answers about are named", func() bool {
		said := o.health.Readiness(t.Context()).Checks["consul"].Error
		return strings.Contains(said, "ballot-server") && strings.Contains(said, "sms-gateway")
	})
	o.becomes("ballot-server", "10.0.0.1:1 10.0.0.1:2")
	agent.Restart()
	o.eventually("a program that is well", is(service.StateReady))
	all, err := o.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 3 {
		t.Errorf("its metrics are %v", all)
	}
}

func TestSettingsThatContradict(t *testing.T) {
	none := map[string][]string{"ballot-server": nil, "sms-gateway": {}}
	for what, c := range map[string]struct {
		settings Settings
		services map[string][]string
		says     string
	}{
		"neither":           {Settings{}, none, "neither -consul-address nor an address of ballot-server or sms-gateway"},
		"both":              {Settings{Address: "127.0.0.1:1"}, map[string][]string{"ballot-server": nil, "sms-gateway": {"a:1"}}, "addresses of sms-gateway are both given"},
		"an address's port": {Settings{}, map[string][]string{"ballot-server": {"a"}}, "host:port"},
		"a token's file":    {Settings{Address: "127.0.0.1:1", TokenFile: filepath.Join(t.TempDir(), "none")}, none, "token"},
	} {
		o, err := open(t, c.settings, c.services)
		if err == nil || service.ExitCode(err) != service.ExitConfig || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
		if o.Finder != nil {
			t.Errorf("%s: there is a Finder all the same", what)
		}
	}
}

// TestPolicies: with the token that Nomad puts into the environment of a job's task, and the policy that is
// its job's, each program finds what it looks for, and nothing else.
func TestPolicies(t *testing.T) {
	agent := consultest.StartWith(t, consultest.Config{Tokens: true})[0]
	looks := map[string][]string{
		"api-server":    {"ballot-server", "redis", "sms-gateway"},
		"ballot-server": {"popvote-db"},
		"control-panel": {"api-server", "ballot-server", "control-panel", "haproxy", "popvote-db", "redis", "sms-gateway"},
		"haproxy":       {"api-server"},
		"migrate":       {"popvote-db"},
		"sms-gateway":   {"redis"},
	}
	services := map[string][]string{"somebody-else": nil}
	for _, name := range looks["control-panel"] {
		services[name] = nil
	}
	for name := range services {
		agent.Register(&api.AgentServiceRegistration{Name: name, Address: "10.0.0.1", Port: 1})
	}
	all := slices.Sorted(maps.Keys(services))
	for program, wanted := range looks {
		t.Run(program, func(t *testing.T) {
			rules, err := os.ReadFile("../../jobs/consul/policy." + program + ".hcl")
			if err != nil {
				t.Fatal(err)
			}
			t.Setenv("CONSUL_HTTP_TOKEN", agent.Token(program, string(rules)))
			o, err := open(t, Settings{Address: agent.Addr()}, services)
			if err != nil {
				t.Fatal(err)
			}
			o.eventually("all answers", func() bool {
				for _, name := range all {
					if v := o.watches[name][0].seen.Load(); len(v.instances) == 0 && v.why == nil {
						return false
					}
				}
				return true
			})
			found := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return len(o.Find(name)) == 0 })
			if !slices.Equal(found, wanted) {
				t.Errorf("it finds %q, and wants %q", found, wanted)
			}
			o.says("its policy lacks the service")
		})
	}
}

// TestATokenThatMayNoLongerSee takes no instance away: what it sees is empty, and nobody has gone.
func TestATokenThatMayNoLongerSee(t *testing.T) {
	agent := consultest.StartWith(t, consultest.Config{Tokens: true})[0]
	register(agent, 1, nil)
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(agent.Token("sees", `service "ballot-server" { policy = "read" } node_prefix "" { policy = "read" }`))
	o, err := open(t, Settings{Address: agent.Addr(), TokenFile: file}, map[string][]string{"ballot-server": nil})
	if err != nil {
		t.Fatal(err)
	}
	o.becomes("ballot-server", "10.0.0.1:1")
	write(agent.Token("sees-no-more", `service "redis" { policy = "read" }`))
	register(agent, 2, nil) // which the question under way may see yet, and the next doesn't
	register(agent, 3, nil)
	o.says("the token may not see all instances")
	o.clock.forward(time.Hour)
	if got := o.found("ballot-server"); !strings.Contains(got, "10.0.0.1:1") {
		t.Errorf("an hour later there is %q", got)
	}
	if r := o.health.Readiness(t.Context()); r.State != service.StateDegraded {
		t.Errorf("it is %+v", r)
	}
}

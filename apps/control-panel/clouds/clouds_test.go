//go:build linux

package clouds_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"

	"github.com/popvote/popvote/apps/control-panel/clouds"
	"github.com/popvote/popvote/libs/consultest"
	"github.com/popvote/popvote/libs/nomadtest"
	"github.com/popvote/popvote/libs/service/servicetest"
)

const policyFile = "../../../jobs/acl/policy.control-panel.hcl"

var us = clouds.Change{By: "operator-1234", Why: "the test says so"}

// site is three clouds of a real Nomad that asks for tokens, a Consul, and a panel's view of them, with the token of
// the panel's own task.
type site struct {
	*testing.T
	nomad  *nomadtest.Nomad
	consul *consultest.Agent
	clouds *clouds.Clouds
	log    *servicetest.Output
}

func newSite(t *testing.T) *site {
	t.Helper()
	agents := consultest.StartWith(t, consultest.Config{Servers: len(everywhere), Cloud: "cloud-a"})
	s := &site{T: t, consul: agents[0], log: new(servicetest.Output)}
	s.nomad = nomadtest.Start(t, nomadtest.Config{Datacenters: everywhere, ACL: true, Consul: []string{agents[0].Addr(), agents[1].Addr(), agents[2].Addr()}})
	s.policy("")
	s.run("control-panel", 1, 1, "cloud-a") // which must stay, for its socket
	s.run("api-server", 3, 1, everywhere...)
	panel := s.running("control-panel", 1)[0]
	s.running("api-server", 3)
	secrets := s.nomad.Secrets(panel.NodeName, panel.ID, "control-panel")
	var err error
	s.clouds, err = clouds.New(clouds.Config{
		Nomad: "unix://" + filepath.Join(secrets, "api.sock"), NomadTokenFile: filepath.Join(secrets, "nomad_token"), Consul: s.consul.Addr(),
	}, clouds.Deps{Clock: time.Now, Log: slog.New(slog.NewTextHandler(s.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); s.clouds.Follow(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return s
}

// policy gives the panel's job its policy, without one capability.
func (s *site) policy(without string) {
	s.Helper()
	rules, err := os.ReadFile(policyFile)
	if err != nil {
		s.Fatal(err)
	}
	text := string(rules)
	if without != "" {
		text = strings.Replace(text, fmt.Sprintf("%q,", without), "", 1)
		if without == "node" {
			text = text[:strings.Index(text, "node {")]
		}
		if text == string(rules) {
			s.Fatalf("the policy has no %s", without)
		}
	}
	s.nomad.Must("PUT", "/v1/acl/policy/control-panel", map[string]any{
		"Name": "control-panel", "Rules": text, "JobACL": map[string]string{"Namespace": "popvote", "JobID": "control-panel"},
	}, nil)
}

var everywhere = []string{"cloud-a", "cloud-b", "cloud-c"}

// run has Nomad run so many copies of a job, spread over clouds; another release is another version.
func (s *site) run(id string, count, release int, in ...string) {
	s.Helper()
	const second = 1_000_000_000
	s.nomad.Must("PUT", "/v1/jobs", map[string]any{"Job": map[string]any{
		"ID": id, "Namespace": "popvote", "Datacenters": in, "Meta": map[string]string{"rebalance": ""},
		"Spreads": []any{map[string]any{"Attribute": "${node.datacenter}", "Weight": 100}},
		"Update": map[string]any{
			"Canary": 1, "MaxParallel": 3, "AutoRevert": true, "HealthCheck": "task_states", "MinHealthyTime": second / 10,
			"HealthyDeadline": 60 * second, "ProgressDeadline": 120 * second,
		},
		"TaskGroups": []any{map[string]any{
			"Name": id, "Count": count, "Scaling": map[string]any{"Enabled": true, "Min": min(count, 3), "Max": 9},
			"Migrate":  map[string]any{"MaxParallel": 3, "HealthCheck": "task_states", "MinHealthyTime": second / 10, "HealthyDeadline": 60 * second},
			"Services": []any{map[string]any{"Name": id, "Provider": "consul", "Meta": map[string]string{"cloud": "${node.datacenter}"}, "CanaryTags": []string{"canary"}}},
			"Tasks": []any{map[string]any{
				"Name": id, "Driver": "raw_exec", "Config": map[string]any{"command": "sleep", "args": []string{"infinity"}},
				"Env": map[string]string{"RELEASE": fmt.Sprint(release)}, "Identity": map[string]any{"File": true},
				"KillTimeout": second, "Resources": map[string]int{"CPU": 20, "MemoryMB": 16},
			}},
		}},
	}}, nil)
}

type allocation struct{ ID, NodeName, ClientStatus, DesiredStatus string }

func (s *site) running(job string, n int) (all []allocation) {
	s.Helper()
	s.nomad.Await(fmt.Sprintf("%d copies of %s", n, job), func() error {
		err := s.nomad.Ask("GET", "/v1/job/"+job+"/allocations?namespace=popvote", nil, &all)
		all = slices.DeleteFunc(all, func(a allocation) bool { return a.ClientStatus != "running" || a.DesiredStatus != "run" })
		if err == nil && len(all) != n {
			err = fmt.Errorf("there are %d", len(all))
		}
		return err
	})
	return all
}

// sees waits for what the map must show.
func (s *site) sees(what string, is func(*clouds.Map) bool) *clouds.Map {
	s.Helper()
	for range 1000 {
		if m := s.clouds.Map(); is(m) {
			return m
		}
		s.clouds.Nudge()
		time.Sleep(100 * time.Millisecond)
	}
	s.Fatalf("the map never shows %s: %+v\n%s", what, s.clouds.Map(), s.log)
	return nil
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *site) refused(err error, want clouds.Refused) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("it was to be refused (%s): %v", want, err)
	}
}

func job(m *clouds.Map, id string) *clouds.Job {
	for i := range m.Jobs {
		if m.Jobs[i].ID == id {
			return &m.Jobs[i]
		}
	}
	return &clouds.Job{Groups: []clouds.Group{{}}}
}

// settled says whether so many copies of the newest version run, and nothing else is going on.
func settled(m *clouds.Map, id string, n int) bool {
	j := job(m, id)
	g := j.Groups[0]
	return j.Deployment == nil && g.Desired == n && g.Running == n && g.Starting+g.Failing+g.Old == 0
}

func states(m *clouds.Map) map[string]clouds.NodeState {
	is := map[string]clouds.NodeState{}
	for _, c := range m.Clouds {
		is[c.Name] = c.Nodes[0].State
	}
	return is
}

func leader(m *clouds.Map, of string) string {
	for _, l := range m.Leaders {
		if l.Of == of {
			return fmt.Sprint(l.At)
		}
	}
	return "not asked for"
}

// TestAPersonRunsTheClouds does everything the panel does, with the token that the panel's job has.
func TestAPersonRunsTheClouds(t *testing.T) {
	s := newSite(t)
	m := s.sees("three copies, one in each cloud", func(m *clouds.Map) bool { return settled(m, "api-server", 3) })
	want := map[string]clouds.NodeState{"cloud-a": clouds.Ready, "cloud-b": clouds.Ready, "cloud-c": clouds.Ready}
	if g := job(m, "api-server").Groups[0]; !maps.Equal(states(m), want) || !maps.Equal(g.Clouds, map[string]int{"cloud-a": 1, "cloud-b": 1, "cloud-c": 1}) || g.Move != nil || *g.Bounds != (clouds.Bounds{Min: 3, Max: 9}) {
		t.Errorf("the map: %+v", m)
	}
	s.services()

	t.Run("scales", func(t *testing.T) {
		s.refused(s.clouds.Scale(t.Context(), "api-server", "api-server", 3, 2, us), clouds.OutOfBounds)
		s.refused(s.clouds.Scale(t.Context(), "api-server", "api-server", 3, 10, us), clouds.OutOfBounds)
		s.refused(s.clouds.Scale(t.Context(), "api-server", "api-server", 4, 6, us), clouds.SomebodyFaster)
		s.refused(s.clouds.Scale(t.Context(), "no-such", "no-such", 3, 4, us), clouds.NotThere)
		s.must(s.clouds.Scale(t.Context(), "api-server", "api-server", 3, 6, us))
		s.sees("six copies", func(m *clouds.Map) bool { return settled(m, "api-server", 6) })
	})
	t.Run("promotes and fails", func(t *testing.T) {
		s.run("api-server", 6, 2, everywhere...)
		waits := func(m *clouds.Map) bool {
			d := job(m, "api-server").Deployment
			return d != nil && d.Waiting && d.Wanted == 1 && d.Ready()
		}
		d := job(s.sees("a healthy canary", waits), "api-server").Deployment
		s.refused(s.clouds.Drain(t.Context(), "cloud-b", us), clouds.CanaryWaits)
		s.refused(s.clouds.Promote(t.Context(), "api-server", "another"), clouds.SomebodyFaster)
		s.must(s.clouds.Promote(t.Context(), "api-server", d.ID))
		m := s.sees("the new version everywhere", func(m *clouds.Map) bool { return settled(m, "api-server", 6) })
		before := job(m, "api-server").Version
		s.run("api-server", 6, 3, everywhere...)
		d = job(s.sees("a healthy canary", waits), "api-server").Deployment
		s.denied(d.ID, s.running("api-server", 7)[0].ID)
		s.must(s.clouds.Fail(t.Context(), "api-server", d.ID))
		s.sees("the version before it", func(m *clouds.Map) bool { return settled(m, "api-server", 6) && job(m, "api-server").Version > before })
	})
	t.Run("drains, takes back and rebalances", func(t *testing.T) {
		s.refused(s.clouds.Undrain(t.Context(), "cloud-b", us), clouds.NothingToDo)
		s.must(s.clouds.Drain(t.Context(), "cloud-b", us))
		m := s.sees("nothing left in cloud-b", func(m *clouds.Map) bool {
			return states(m)["cloud-b"] == clouds.Drained && job(m, "api-server").Groups[0].Clouds["cloud-b"] == 0 && settled(m, "api-server", 6)
		})
		if n := m.Clouds[1].Nodes[0]; n.By != us.By || n.Why != us.Why {
			t.Errorf("who did it, and why: %+v", n)
		}
		s.refused(s.clouds.Drain(t.Context(), "cloud-c", us), clouds.OtherCloudAway)
		s.refused(s.clouds.MoveOne(t.Context(), "api-server", "api-server", "cloud-a"), clouds.NothingToDo)
		s.must(s.clouds.Undrain(t.Context(), "cloud-b", us))
		for moved := range 2 {
			m := s.sees("what to move", func(m *clouds.Map) bool {
				g := job(m, "api-server").Groups[0]
				return settled(m, "api-server", 6) && g.Clouds["cloud-b"] == moved && g.Move != nil && g.Move.To == "cloud-b"
			})
			s.must(s.clouds.MoveOne(t.Context(), "api-server", "api-server", job(m, "api-server").Groups[0].Move.From))
		}
		s.sees("as many in each", func(m *clouds.Map) bool {
			return settled(m, "api-server", 6) && maps.Equal(job(m, "api-server").Groups[0].Clouds, map[string]int{"cloud-a": 2, "cloud-b": 2, "cloud-c": 2})
		})
	})
	t.Run("sees a cloud lost", func(t *testing.T) {
		const lost = "cloud-c"
		s.nomad.Kill(lost)
		s.sees("it down, and its copies elsewhere", func(m *clouds.Map) bool {
			return states(m)[lost] == clouds.Down && job(m, "api-server").Groups[0].Clouds[lost] == 0
		})
	})
	t.Run("goes on with what it knows", func(t *testing.T) {
		s.nomad.Freeze()
		m := s.sees("that Nomad is silent", func(m *clouds.Map) bool { return m.Nomad.Failing })
		if len(m.Jobs) != 2 || len(m.Clouds) != 3 || m.Now.Sub(m.Nomad.At) <= 0 || m.Consul.Failing {
			t.Errorf("the map: %+v", m)
		}
		if u, ok := errors.AsType[*clouds.Unanswered](s.clouds.Undrain(t.Context(), "cloud-b", us)); !ok || u.Begun {
			t.Errorf("it was to be said that nothing was done: %v", u)
		}
	})
}

// services has Consul know a database and a Vault.
func (s *site) services() {
	s.Helper()
	for _, r := range []consul.AgentServiceRegistration{
		{ID: "db-a", Name: "popvote-db", Port: 1, Tags: []string{"primary"}},
		{ID: "db-b", Name: "popvote-db", Port: 2, Tags: []string{"replica"}, Check: &consul.AgentServiceCheck{TTL: "1h", Notes: "never told"}},
		{ID: "vault", Name: "vault", Port: 3, Tags: []string{"active"}},
	} {
		s.consul.Register(&r)
	}
	m := s.sees("who leads", func(m *clouds.Map) bool { return leader(m, "postgresql") != "[]" && leader(m, "vault") != "[]" })
	if !strings.HasPrefix(leader(m, "consul"), "[{cloud-a dc1-") {
		s.Errorf("consul is led by %s", leader(m, "consul"))
	}
	for _, of := range []string{"vault", "postgresql"} {
		if leader(m, of) != "[{cloud-a dc1-0}]" {
			s.Errorf("%s is led by %s", of, leader(m, of))
		}
	}
	if leader(m, "nomad") != "[{cloud-a server.popvote}]" {
		s.Errorf("nomad is led by %s", leader(m, "nomad"))
	}
	by := map[string]clouds.Service{}
	for _, one := range m.Services {
		by[one.Name] = one
	}
	if db := by["popvote-db"].Instances; len(db) != 2 || db[0].State != "passing" || db[1].State != "critical" {
		s.Errorf("the database: %+v", db)
	}
	if api := by["api-server"].Instances; len(api) != 3 || api[1].Cloud != "cloud-b" || api[1].State != "passing" {
		s.Errorf("the API servers: %+v", api)
	}
}

//go:build linux

package clouds_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"

	"github.com/popvote/popvote/apps/control-panel/clouds"
	"github.com/popvote/popvote/libs/consultest"
	"github.com/popvote/popvote/libs/service/servicetest"
)

// TestConsulIsReadWithTheJobsPolicy: with the token that the panel's job gets, all of what belongs to a vote is seen,
// and nothing else; and nothing is changed.
func TestConsulIsReadWithTheJobsPolicy(t *testing.T) {
	rules, err := os.ReadFile("../../../jobs/consul/policy.control-panel.hcl")
	if err != nil {
		t.Fatal(err)
	}
	agent := consultest.StartWith(t, consultest.Config{Tokens: true, Cloud: "cloud-a"})[0]
	secret := agent.Token("popvote-control-panel", string(rules))
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ours := []string{"api-server", "ballot-server", "control-panel", "haproxy", "popvote-db", "prober", "redis", "sms-gateway", "vault"}
	for _, name := range append(ours, "somebody-else") {
		agent.Register(&consul.AgentServiceRegistration{Name: name, Port: 1, Tags: []string{"primary", "active"}})
	}
	log := new(servicetest.Output)
	// Nomad isn't there, and Consul is read all the same.
	seen, err := clouds.New(clouds.Config{Nomad: "http://127.0.0.1:1", Consul: agent.Addr(), ConsulTokenFile: tokenFile},
		clouds.Deps{Clock: time.Now, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	go seen.Follow(t.Context())
	var names []string
	var m *clouds.Map
	for range 1000 {
		m, names = seen.Map(), nil
		for _, s := range m.Services {
			names = append(names, s.Name)
		}
		if len(names) > 0 && m.Nomad.Failing {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	want := "api-server ballot-server consul control-panel haproxy popvote-db prober redis sms-gateway vault"
	if got := strings.Join(names, " "); got != want || !m.Nomad.At.IsZero() || m.Consul.Failing {
		t.Fatalf("seen: %s, want %s; %+v\n%s", got, want, m, log)
	}
	for _, of := range []string{"consul", "postgresql", "vault"} {
		if leader(m, of) != "[{cloud-a dc1-0}]" {
			t.Errorf("%s is led by %s", of, leader(m, of))
		}
	}
	asPanel, err := consul.NewClient(&consul.Config{Address: agent.Addr(), Token: secret})
	if err != nil {
		t.Fatal(err)
	}
	mine := &consul.AgentServiceRegistration{Name: "api-server", ID: "mine", Port: 2}
	_, wrote := asPanel.KV().Put(&consul.KVPair{Key: "service/popvote-db/leader", Value: []byte("me")}, nil)
	_, _, read := asPanel.KV().Get("service/popvote-db/leader", nil)
	_, operated := asPanel.Operator().RaftGetConfiguration(nil)
	for what, err := range map[string]error{
		"register a service": asPanel.Agent().ServiceRegister(mine), "deregister one": asPanel.Agent().ServiceDeregister("api-server"),
		"write a key": wrote, "read one": read, "ask as an operator": operated,
	} {
		if err == nil || !strings.Contains(err.Error(), "Permission denied") {
			t.Errorf("it may %s: %v", what, err)
		}
	}
}

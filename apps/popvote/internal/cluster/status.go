//go:build unix

package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/popvote/popvote/apps/popvote/internal/netns"
)

// Ports of what every cloud has.
const (
	consulPort = 8500
	nomadPort  = 4646
	vaultPort  = 8200
)

// refusal is an answer that is no success.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d: %s", r.status, r.text) }

// ask asks a cloud's program and reads its JSON answer; a second is enough on one machine.
func (c *Cluster) ask(ctx context.Context, method string, addr netip.Addr, port int, path, token string, body, into any) error {
	limit := time.Second
	if method != http.MethodGet {
		limit = 15 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var sent io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("couldn't encode a request: %w", err)
		}
		sent = bytes.NewReader(encoded)
	}
	scheme := "http"
	if port == vaultPort {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("%s://%s:%d%s", scheme, addr, port, path), sent)
	if err != nil {
		return fmt.Errorf("couldn't make a request: %w", err)
	}
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	res, err := c.client().Do(req)
	if err != nil {
		return fmt.Errorf("couldn't ask: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("couldn't read the answer of %s: %w", req.URL, err)
	}
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("couldn't ask %s: %w", req.URL, &refusal{res.StatusCode, strings.TrimSpace(string(answer))})
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("couldn't read the answer of %s: %w", req.URL, err)
	}
	return nil
}

// Status is what a cluster's programs say, asked in the clouds that are given.
type Status struct {
	Clouds []CloudStatus `json:"clouds"`
	// Leaders are the names of the clouds that hold them; empty: there is none, or nobody says.
	Consul  string `json:"consul_leader"`
	Nomad   string `json:"nomad_leader"`
	Vault   string `json:"vault_active"`
	Primary string `json:"primary"`
	// Synchronous is the standby that commits wait for.
	Synchronous string `json:"synchronous_standby"`
}

// CloudStatus is one cloud's programs, each as it says itself.
type CloudStatus struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Consul  string `json:"consul"`
	Vault   string `json:"vault"`
	Patroni string `json:"patroni"`
	Nomad   string `json:"nomad"`
}

// Status asks all clouds at once.
func (c *Cluster) Status(ctx context.Context) Status {
	clouds := c.Network.All()
	each := make([]Status, len(clouds))
	done := make(chan int)
	for i, cloud := range clouds {
		go func() {
			each[i] = c.one(ctx, cloud)
			done <- i
		}()
	}
	for range clouds {
		<-done
	}
	var all Status
	for _, s := range each {
		all.Clouds = append(all.Clouds, s.Clouds...)
		// A cloud that is cut off may tell old news: whoever says more recently is not known, so the first that
		// another confirms counts, and the only one if none does.
		all.Consul = agreed(all.Consul, s.Consul, each, func(s Status) string { return s.Consul })
		all.Nomad = agreed(all.Nomad, s.Nomad, each, func(s Status) string { return s.Nomad })
		all.Primary = agreed(all.Primary, s.Primary, each, func(s Status) string { return s.Primary })
		all.Synchronous = agreed(all.Synchronous, s.Synchronous, each, func(s Status) string { return s.Synchronous })
		if s.Vault != "" {
			all.Vault = s.Vault
		}
	}
	return all
}

// agreed is what most say.
func agreed(so, name string, each []Status, of func(Status) string) string {
	count := func(n string) (votes int) {
		for _, s := range each {
			if n != "" && of(s) == n {
				votes++
			}
		}
		return votes
	}
	if count(name) > count(so) {
		return name
	}
	return so
}

// one is a status as one cloud tells it.
func (c *Cluster) one(ctx context.Context, cloud netns.Cloud) (s Status) {
	ctx, cancel := context.WithTimeout(ctx, 1200*time.Millisecond)
	defer cancel()
	cs := CloudStatus{Name: cloud.Name, Address: cloud.Addr.String(), Consul: "no answer", Vault: "no answer", Patroni: "no answer", Nomad: "no answer"}
	var leader string
	if err := c.ask(ctx, "GET", cloud.Addr, consulPort, "/v1/status/leader", "", nil, &leader); err == nil {
		cs.Consul, s.Consul = "up", c.at(leader)
		if s.Consul == "" {
			cs.Consul = "no leader"
		}
	}
	if s.Consul != "" {
		s.Primary, s.Synchronous = c.tagged(ctx, cloud)
	}
	if err := c.ask(ctx, "GET", cloud.Addr, nomadPort, "/v1/status/leader", "", nil, &leader); err == nil {
		cs.Nomad, s.Nomad = "up", c.at(leader)
	}
	switch err := c.ask(ctx, "GET", cloud.Addr, vaultPort, "/v1/sys/health?standbyok=true", "", nil, nil); {
	case err == nil:
		cs.Vault = "standby"
		if c.ask(ctx, "GET", cloud.Addr, vaultPort, "/v1/sys/health", "", nil, nil) == nil {
			cs.Vault, s.Vault = "active", cloud.Name
		}
	default:
		var r *refusal
		if errors.As(err, &r) {
			cs.Vault = map[int]string{501: "not initialised", 503: "sealed"}[r.status]
		}
	}
	if p, err := c.patroni(ctx, cloud); err == nil {
		cs.Patroni = p.Role + ", " + p.State
	}
	s.Clouds = []CloudStatus{cs}
	return s
}

// at is the cloud of an address host:port.
func (c *Cluster) at(hostport string) string {
	host, _, _ := strings.Cut(hostport, ":")
	for _, cloud := range c.Network.All() {
		if cloud.Addr.String() == host {
			return cloud.Name
		}
	}
	return ""
}

// tagged asks a cloud's Consul who is the primary, and who Patroni's state says is the synchronous
// standby.
func (c *Cluster) tagged(ctx context.Context, cloud netns.Cloud) (primary, synchronous string) {
	var found []struct{ Service struct{ Address string } }
	if err := c.ask(ctx, "GET", cloud.Addr, consulPort, "/v1/health/service/"+Database+"?tag=primary&passing", "", nil, &found); err == nil && len(found) == 1 {
		primary = c.at(found[0].Service.Address)
	}
	var entries []struct{ Value []byte }
	if err := c.ask(ctx, "GET", cloud.Addr, consulPort, "/v1/kv/service/"+Database+"/sync", "", nil, &entries); err == nil && len(entries) == 1 {
		var state struct {
			Standby string `json:"sync_standby"`
		}
		if json.Unmarshal(entries[0].Value, &state) == nil {
			synchronous = state.Standby
		}
	}
	return primary, synchronous
}

// Primary finds the address of the database's primary as services do, by Consul's tag. It asks in every
// cloud and takes what most say, if any.
func (c *Cluster) Primary(ctx context.Context) (netip.Addr, error) {
	clouds := c.Network.All()
	told := make(chan string, len(clouds))
	for _, cloud := range clouds {
		go func() {
			var found []struct{ Service struct{ Address string } }
			err := c.ask(ctx, "GET", cloud.Addr, consulPort, "/v1/health/service/"+Database+"?tag=primary&passing", "", nil, &found)
			if err != nil || len(found) != 1 {
				told <- ""
				return
			}
			told <- found[0].Service.Address
		}()
	}
	votes := map[string]int{}
	best := ""
	for range clouds {
		name := <-told
		votes[name]++
		if name != "" && (best == "" || votes[name] > votes[best]) {
			best = name
		}
		if best != "" && 2*votes[best] > len(clouds) {
			break // nobody waits for a cloud that doesn't answer
		}
	}
	if best == "" {
		return netip.Addr{}, errors.New("couldn't find the database's primary: no Consul knows one")
	}
	return netip.ParseAddr(best)
}

type member struct {
	State, Role string
	Replication []struct {
		Sync string `json:"sync_state"`
	}
}

func (c *Cluster) patroni(ctx context.Context, cloud netns.Cloud) (m member, err error) {
	return m, c.ask(ctx, "GET", cloud.Addr, 8008, "/patroni", "", nil, &m)
}

func (c *Cluster) consulReady(ctx context.Context) error {
	var peers []string
	for _, cloud := range c.Network.All() {
		var leader string
		if err := c.ask(ctx, "GET", cloud.Addr, consulPort, "/v1/status/leader", "", nil, &leader); err != nil {
			return err
		}
		if err := c.ask(ctx, "GET", cloud.Addr, consulPort, "/v1/status/peers", "", nil, &peers); err != nil {
			return err
		}
		if leader == "" || len(peers) != len(c.Network.Clouds) {
			return fmt.Errorf("%s has the leader %q and %d servers", cloud.Name, leader, len(peers))
		}
	}
	return nil
}

func (c *Cluster) databaseReady(ctx context.Context) error {
	primary, err := c.Primary(ctx)
	if err != nil {
		return err
	}
	for _, cloud := range c.Network.All() {
		m, err := c.patroni(ctx, cloud)
		if err != nil {
			return err
		}
		if m.State != "running" {
			return fmt.Errorf("%s is %s", cloud.Name, m.State)
		}
		if cloud.Addr != primary {
			continue
		}
		synchronous := 0
		for _, r := range m.Replication {
			if r.Sync == "sync" {
				synchronous++
			}
		}
		if len(m.Replication) != len(c.Network.Clouds)-1 || synchronous != 1 {
			return fmt.Errorf("%d standbys follow %s, %d of them synchronously", len(m.Replication), cloud.Name, synchronous)
		}
	}
	return nil
}

func (c *Cluster) nomadReady(ctx context.Context) error {
	for _, cloud := range c.Network.All() {
		var nodes []struct{ Name, Datacenter, Status string }
		if err := c.ask(ctx, "GET", cloud.Addr, nomadPort, "/v1/nodes", "", nil, &nodes); err != nil {
			return err
		}
		ready := map[string]bool{}
		for _, n := range nodes {
			if n.Status == "ready" {
				ready[n.Datacenter] = true
			}
		}
		if len(ready) != len(c.Network.Clouds) {
			return fmt.Errorf("clients are ready in %d of %d clouds", len(ready), len(c.Network.Clouds))
		}
	}
	return nil
}

// Ready says what is not as it should be before anything is taken away, and after it is back.
func (c *Cluster) Ready(ctx context.Context) error {
	for _, ready := range []func(context.Context) error{c.consulReady, c.vaultReady, c.databaseReady, c.nomadReady, c.servicesReady} {
		if err := ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

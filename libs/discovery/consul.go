package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// waitTime is how long Consul may hold a question that has no new answer; it holds one until then even
	// if whoever asked is gone. answerTime is how long an answer may take beyond that.
	waitTime   = 55 * time.Second
	answerTime = 10 * time.Second
	// keepEmptied is for a catalogue that was lost and is filled again.
	keepEmptied = 30 * time.Second
	// skipFailing is when the next datacenter is looked at instead.
	skipFailing = 15 * time.Second

	backOffFirst = 200 * time.Millisecond
	backOffMost  = 10 * time.Second
	pace         = time.Second
	burst        = 5
)

// ConsulConfig is which Consul to ask, and for what.
type ConsulConfig struct {
	// Address is the agent of this machine, host:port; required. What is said nowhere else, as certificates,
	// is taken from Consul's own variables in the environment (CONSUL_CACERT, CONSUL_HTTP_TOKEN, …).
	Address string
	// TokenFile holds the token to ask with, and is read again for each question; empty for none.
	TokenFile string
	// Datacenters are Consul's, the one to be used first in front; empty for the agent's own.
	Datacenters []string
	// Services are what will be looked for: a name, or a tag and a name with a dot between them
	// ("primary.popvote-db"), as in Consul's DNS.
	Services []string
}

// ConsulDeps is what a Consul needs.
type ConsulDeps struct {
	Clock func() time.Time
	Log   *slog.Logger
}

// Consul finds what passes its checks in Consul, canaries excepted. It keeps a question open for each
// service and datacenter, so that Find only looks at what the last answers were:
//
//   - No answer: the last set stays, for as long as it takes.
//   - An answer without any instance: the last set stays for half a minute.
//   - Of several datacenters, the first one that has instances and answers; if none does, the first that
//     had some.
type Consul struct {
	client    *api.Client
	clock     func() time.Time
	log       *slog.Logger
	tokenFile string
	watches   map[string][]*watch // by service, datacenters in order

	waitTime, answerTime time.Duration // the constants, except in tests
}

var _ Finder = (*Consul)(nil)

// NewConsul returns a Finder that knows nothing before Follow runs. The agent need not be there.
func NewConsul(cfg ConsulConfig, deps ConsulDeps) (*Consul, error) {
	if cfg.Address == "" || len(cfg.Services) == 0 {
		return nil, errors.New("couldn't ask Consul: its address, or what to ask for, is missing")
	}
	client, err := api.NewClient(&api.Config{Address: cfg.Address})
	if err != nil {
		return nil, fmt.Errorf("couldn't ask Consul: %w", err)
	}
	c := &Consul{
		client: client, clock: deps.Clock, log: deps.Log, tokenFile: cfg.TokenFile, watches: map[string][]*watch{},
		waitTime: waitTime, answerTime: answerTime,
	}
	if _, err := c.token(); err != nil {
		return nil, err
	}
	datacenters := cfg.Datacenters
	if len(datacenters) == 0 {
		datacenters = []string{""}
	}
	for _, name := range cfg.Services {
		service, tags := name, []string(nil)
		if tag, rest, tagged := strings.Cut(name, "."); tagged {
			service, tags = rest, []string{tag}
		}
		if service == "" || slices.Contains(tags, "") || c.watches[name] != nil {
			return nil, fmt.Errorf("couldn't ask Consul: %q is no service, or there twice", name)
		}
		for _, datacenter := range datacenters {
			w := &watch{name: name, service: service, tags: tags, datacenter: datacenter, consul: c}
			w.seen.Store(&view{answered: c.clock()})
			c.watches[name] = append(c.watches[name], w)
		}
	}
	return c, nil
}

// token is what to ask with; empty leaves it to the client.
func (c *Consul) token() (string, error) {
	if c.tokenFile == "" {
		return "", nil
	}
	token, err := os.ReadFile(c.tokenFile)
	if err != nil {
		return "", fmt.Errorf("couldn't read the token for Consul: %w", err)
	}
	return strings.TrimSpace(string(token)), nil
}

// Follow keeps what Find returns up to date until the context ends.
func (c *Consul) Follow(ctx context.Context) {
	var all sync.WaitGroup
	for _, watches := range c.watches {
		for _, w := range watches {
			all.Go(func() { w.follow(ctx) })
		}
	}
	all.Wait()
}

// Find implements Finder.
func (c *Consul) Find(service string) []Instance {
	now := c.clock()
	var last []Instance
	for _, w := range c.watches[service] {
		switch v := w.seen.Load(); {
		case len(v.instances) == 0:
		case !v.emptied.IsZero() && now.Sub(v.emptied) >= keepEmptied:
		case !v.emptied.IsZero(), !v.failing.IsZero() && now.Sub(v.failing) >= skipFailing:
			if last == nil {
				last = v.instances
			}
		default:
			return slices.Clone(v.instances)
		}
	}
	return slices.Clone(last)
}

// Check says what Consul does not answer; what it said before is then in use. It fits service.Health.
func (c *Consul) Check(context.Context) error {
	now := c.clock()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.watches)) {
		for _, w := range c.watches[name] {
			if v := w.seen.Load(); v.why != nil {
				errs = append(errs, fmt.Errorf("no answer about %s for %v: %w", name, now.Sub(v.failing).Round(time.Second), v.why))
			}
		}
	}
	return errors.Join(errs...)
}

var (
	consulLabels = []string{"service", "datacenter"}
	ageDesc      = prometheus.NewDesc("popvote_discovery_age_seconds",
		"Time since Consul last said which instances there are. Up to a minute is its way of saying that nothing changed; more is a Consul that does not answer.", consulLabels, nil)
	instancesDesc = prometheus.NewDesc("popvote_discovery_instances", "Instances last seen in Consul and kept, of each datacenter.", consulLabels, nil)
	failuresDesc  = prometheus.NewDesc("popvote_discovery_failures_total", "Questions that Consul did not answer.", consulLabels, nil)
)

// Describe implements prometheus.Collector.
func (c *Consul) Describe(out chan<- *prometheus.Desc) {
	out <- ageDesc
	out <- instancesDesc
	out <- failuresDesc
}

// Collect implements prometheus.Collector.
func (c *Consul) Collect(out chan<- prometheus.Metric) {
	now := c.clock()
	for name, watches := range c.watches {
		for _, w := range watches {
			v := w.seen.Load()
			n := len(v.instances)
			if !v.emptied.IsZero() && now.Sub(v.emptied) >= keepEmptied {
				n = 0
			}
			out <- prometheus.MustNewConstMetric(ageDesc, prometheus.GaugeValue, now.Sub(v.answered).Seconds(), name, w.datacenter)
			out <- prometheus.MustNewConstMetric(instancesDesc, prometheus.GaugeValue, float64(n), name, w.datacenter)
			out <- prometheus.MustNewConstMetric(failuresDesc, prometheus.CounterValue, float64(w.failures.Load()), name, w.datacenter)
		}
	}
}

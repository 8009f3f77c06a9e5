// Package clouds is what Nomad and Consul say of the clouds that all this runs in, and the few things an
// operator may have Nomad do about it. Voting needs none of it: what isn't answered is shown as old.
package clouds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	consul "github.com/hashicorp/consul/api"
	nomad "github.com/hashicorp/nomad/api"
)

// Namespace is the one that every job of a vote is in.
const Namespace = "popvote"

const (
	// every is how old a map gets before it is read again.
	every = 4 * time.Second
	// patience is how long one reading of either may take, and one deed.
	patience = 4 * time.Second
)

// Config says where the two are. What is said nowhere else, as certificates, is taken from their own
// variables in the environment (NOMAD_CACERT, CONSUL_CACERT, …).
type Config struct {
	// Nomad is http://host:port, https://host:port, or unix:///path of a task's own socket; required.
	Nomad string
	// NomadTokenFile is read anew for each question; empty for NOMAD_TOKEN, or none.
	NomadTokenFile string
	// Consul is host:port; empty where there is none: then no service's health is known, and no leader but Nomad's.
	Consul string
	// ConsulTokenFile is as NomadTokenFile; empty for CONSUL_HTTP_TOKEN, or none.
	ConsulTokenFile string
}

// Deps is what a Clouds works with.
type Deps struct {
	Clock func() time.Time
	Log   *slog.Logger
}

// Clouds keeps a map up to date. Safe for concurrent use.
type Clouds struct {
	config Config
	clock  func() time.Time
	log    *slog.Logger
	nomad  *nomad.Client
	consul *consul.Client // nil where there is none
	nudged chan struct{}

	mu                sync.Mutex
	nomadIs, consulIs Source
	work              workload
	found             services
}

// New asks nobody yet: neither need be there.
func New(config Config, deps Deps) (*Clouds, error) {
	if !strings.HasPrefix(config.Nomad, "http://") && !strings.HasPrefix(config.Nomad, "https://") && !strings.HasPrefix(config.Nomad, "unix://") {
		return nil, fmt.Errorf("couldn't use %q as Nomad's address: it must begin with http://, https:// or unix://", config.Nomad)
	}
	c := &Clouds{config: config, clock: deps.Clock, log: deps.Log, nudged: make(chan struct{}, 1)}
	settings := nomad.DefaultConfig()
	settings.Address, settings.Namespace = config.Nomad, Namespace
	var err error
	if c.nomad, err = nomad.NewClient(settings); err != nil {
		return nil, fmt.Errorf("couldn't ask Nomad: %w", err)
	}
	c.nomadIs.Asked = true
	if config.Consul != "" {
		if c.consul, err = consul.NewClient(&consul.Config{Address: config.Consul}); err != nil {
			return nil, fmt.Errorf("couldn't ask Consul: %w", err)
		}
		c.consulIs.Asked = true
	}
	for _, path := range []string{config.NomadTokenFile, config.ConsulTokenFile} {
		if _, err := token(path); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// token is read each time, because it is renewed in its place.
func token(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("couldn't read a token: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// Follow keeps the map up to date until the context ends. Neither of the two waits for the other.
func (c *Clouds) Follow(ctx context.Context) {
	var both sync.WaitGroup
	if c.consul != nil {
		both.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for ctx.Err() == nil {
				c.askConsul(ctx)
				select {
				case <-ctx.Done():
				case <-tick.C:
				}
			}
		})
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for ctx.Err() == nil {
		_, _ = c.askNomad(ctx) // the map says how old it is
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-c.nudged:
		}
	}
	both.Wait()
}

// Nudge has Nomad asked again at once: something was just changed.
func (c *Clouds) Nudge() {
	select {
	case c.nudged <- struct{}{}:
	default: // it will be
	}
}

// Map is what was last known. It asks nobody.
func (c *Clouds) Map() *Map {
	c.mu.Lock()
	defer c.mu.Unlock()
	return draw(c.clock(), c.nomadIs, c.consulIs, c.work, c.found)
}

func (c *Clouds) askNomad(ctx context.Context) (workload, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	read, err := c.readNomad(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.note(ctx, "Nomad", &c.nomadIs, err) {
		c.work = read
	}
	return read, err
}

func (c *Clouds) askConsul(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	read, err := c.readConsul(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.note(ctx, "Consul", &c.consulIs, err) {
		c.found = read
	}
}

// note keeps how an asking ended, and logs what is new; the caller holds mu.
func (c *Clouds) note(ctx context.Context, who string, is *Source, err error) bool {
	if errors.Is(ctx.Err(), context.Canceled) {
		return false
	}
	if err == nil {
		if is.Failing {
			c.log.InfoContext(ctx, "answers again", slog.String("who", who))
		}
		is.At, is.Failing, is.Denied = c.clock(), false, false
		return true
	}
	if !is.Failing {
		c.log.WarnContext(ctx, "does not answer", slog.String("who", who), slog.Any("error", err))
	}
	is.Failing, is.Denied = true, denied(err)
	return false
}

// denied says whether an answer was that the token may not ask.
func denied(err error) bool {
	if n, ok := errors.AsType[nomad.UnexpectedResponseError](err); ok {
		return n.StatusCode() == http.StatusForbidden
	}
	if s, ok := errors.AsType[consul.StatusError](err); ok {
		return s.Code == http.StatusForbidden
	}
	return false
}

package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/popvote/popvote/libs/service"
	"github.com/prometheus/client_golang/prometheus"
)

// Settings are the part of a program's configuration that says which Consul to ask.
type Settings struct {
	Address     string   `koanf:"address" doc:"This machine's Consul agent, host:port, which knows where the other services are, and where they go. Default: none; then their addresses must be given. What is already known stays in use while it is away."`
	TokenFile   string   `koanf:"token-file" doc:"A file with a token to ask Consul with, read anew for each question. Default: the variable CONSUL_HTTP_TOKEN, or none."`
	Datacenters []string `koanf:"datacenters" doc:"Consul's own datacenters, separated by commas: the first in which a service has instances is used. Default: the agent's."`
}

// Deps is what Open needs.
type Deps struct {
	Clock   func() time.Time
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// Health says that the program is degraded, and no more than that, while Consul doesn't answer.
	Health *service.Health
}

// Open finds services, by their names, at the addresses that a program's configuration has for them; or, if
// it has none for any, by Consul, which is then followed until the context ends. To have both, or neither,
// is service.ErrConfig.
func (s Settings) Open(ctx context.Context, services map[string][]string, deps Deps) (Finder, error) {
	wrong := func(err error) (Finder, error) { return nil, fmt.Errorf("%w: %w", service.ErrConfig, err) }
	names := slices.Sorted(maps.Keys(services))
	given := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return len(services[name]) == 0 })
	if len(given) > 0 && s.Address == "" {
		static, err := At(services)
		if err != nil {
			return wrong(err)
		}
		return static, nil
	}
	if len(given) > 0 {
		return wrong(fmt.Errorf("-consul-address and the addresses of %s are both given: want one or the other", strings.Join(given, " and ")))
	}
	if s.Address == "" {
		return wrong(fmt.Errorf("neither -consul-address nor an address of %s is given", strings.Join(names, " or ")))
	}
	consul, err := NewConsul(ConsulConfig{
		Address: s.Address, TokenFile: s.TokenFile, Datacenters: s.Datacenters, Services: names,
	}, ConsulDeps{Clock: deps.Clock, Log: deps.Log})
	if err != nil {
		return wrong(err)
	}
	deps.Metrics.MustRegister(consul)
	deps.Health.Want("consul", consul.Check)
	go consul.Follow(ctx)
	return consul, nil
}

// The SMS gateway as a program of its own: it takes what voters text from the phone networks, and sends
// them codes for the API servers, by the routes of a table. A simulated phone network, for trying everything
// out on one machine, is one more provider.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/route"
	"github.com/popvote/popvote/apps/sms-gateway/server"
	"github.com/popvote/popvote/apps/sms-gateway/simulator"
	"github.com/popvote/popvote/libs/cloudredis"
	"github.com/popvote/popvote/libs/custody"
	"github.com/popvote/popvote/libs/discovery"
	"github.com/popvote/popvote/libs/service"
	"github.com/popvote/popvote/libs/sms"
	smsoverhttp "github.com/popvote/popvote/libs/sms/overhttp"
	"github.com/popvote/popvote/libs/vault"
	"github.com/popvote/popvote/libs/verification"
)

const name = "sms-gateway"

const usage = `sms-gateway takes what voters text, leaves it on the verification board (the Redis
of every cloud), and sends codes for api-server over mutual TLS; control-panel may read
there how its routes do, and nothing else. It answers /livez, /readyz, /metrics and /version.

Where Redis is is said by the addresses, or known to Consul: with -consul-address it
writes to each that there is, as they come and go. One that is lost keeps no other
waiting, and gets what it missed when it is back.

Which provider sends what, and for how much money at most, is in the table that
-providers names; docs/sms.md describes it. Providers bring what voters text, and
what became of messages, to -hooks-listen, which may be public.

With -simulate a page is in a phone network's place: a provider of the kind
"simulated", and the only route there is without -providers. Whoever reaches that
page can text from any number, so everything must then be on loopback addresses,
Redis too, or in networks that -simulate-networks names because nobody else is there.
Of those that Consul knows, others are left out.

Every flag is also a variable, SMS_GATEWAY_REDIS_ADDRESSES for -redis-addresses, and a
key of the file that -config names.

Flags:
`

type config struct {
	Listen   string                   `koanf:"listen" doc:"Where api-server has codes sent and control-panel reads how the routes do, host:port. Mutual TLS: nobody else is let in."`
	TLS      string                   `koanf:"tls" doc:"The directory with ca.pem, cert.pem and key.pem of this service. Read again when they change. Required, unless Vault signs one."`
	Keys     string                   `koanf:"keys" doc:"The key file (keys.json) that it shares with api-server and ballot-server; it must exist. Required, unless Vault holds the keys."`
	Vault    vault.Settings           `koanf:"vault"`
	Consul   discovery.Settings       `koanf:"consul"`
	Redis    cloudredis.EverySettings `koanf:"redis"`
	Routes   string                   `koanf:"providers" doc:"The table of routes, YAML: which providers send, with weights, prices, countries and caps. Required, unless -simulate takes its place."`
	Hooks    string                   `koanf:"hooks-listen" doc:"Where providers call us, host:port, each below /hooks/ and its route's name: plain HTTP, for a proxy that ends TLS. Default: nowhere; then nothing is heard of messages, nor from voters, but by providers that keep a connection."`
	Simulate bool                     `koanf:"simulate" doc:"Be the phone network too. For trying things out: works on loopback addresses, and in -simulate-networks."`
	Networks []string                 `koanf:"simulate-networks" doc:"Networks besides loopback where nobody is but those who try things out, separated by commas. Default: none."`
	Phone    string                   `koanf:"phone-listen" doc:"Where the simulated phone is, host:port; with -simulate only."`
	Inbound  string                   `koanf:"inbound-number" doc:"The number that voters text, E.164; with -simulate only."`
	Admin    string                   `koanf:"admin" doc:"Where probes and metrics are answered, host:port. Never public."`
	Log      service.LogConfig        `koanf:"log"`
}

func defaults() config {
	return config{
		Listen: "127.0.0.1:8092", Phone: "127.0.0.1:8082", Admin: "127.0.0.1:8093",
		Inbound: "+85264500000", Log: service.DefaultLog(),
	}
}

var errNoProvider = errors.New("no SMS provider is configured: name the table of routes with -providers, " +
	"or say -simulate for a simulated phone network, here or in `popvote up`")

// Validate implements what service.LoadConfig asks.
func (c *config) Validate() error {
	switch {
	case !c.Simulate && c.Routes == "":
		return errNoProvider
	case c.Hooks != "" && c.Routes == "":
		return errors.New("-hooks-listen is for providers, and there are none without -providers")
	case c.TLS == "" && c.Vault.Address == "":
		return errors.New("-tls or -vault-address is missing")
	case c.Keys == "" && c.Vault.Address == "":
		return errors.New("-keys or -vault-address is missing")
	case len(c.Redis.Addresses) == 0 && c.Consul.Address == "":
		return errors.New("-redis-addresses or -consul-address is missing")
	}
	// Made here, it would be a key file that no other program has.
	if _, err := os.Stat(c.Keys); c.Keys != "" && err != nil {
		return fmt.Errorf("-keys: there is no key file: %w", err)
	}
	return nil
}

// networks are those of -simulate-networks.
func (c *config) networks() (all []netip.Prefix, err error) {
	for _, text := range c.Networks {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("-simulate-networks: %q is no network such as 10.1.2.0/24: %w", text, err)
		}
		all = append(all, network)
	}
	return all, nil
}

func main() {
	os.Exit(service.RunMain(name, os.Stderr, func(ctx context.Context) error {
		return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}))
}

func run(ctx context.Context, args []string, out, errs io.Writer) error {
	c := defaults()
	if goOn, err := service.ReadCommand(name, usage, args, &c, out, errs); !goOn {
		return err
	}
	return serve(ctx, c, errs)
}

// serve runs the gateway until the context ends.
func serve(ctx context.Context, c config, errs io.Writer) (err error) {
	log, err := service.NewLogger(errs, name, c.Log)
	if err != nil {
		return fmt.Errorf("%w: %w", service.ErrConfig, err)
	}
	metrics, health := service.NewMetrics(name), new(service.Health)
	finder, err := c.Consul.Open(ctx, map[string][]string{cloudredis.Service: c.Redis.Addresses},
		discovery.Deps{Clock: time.Now, Log: log, Metrics: metrics, Health: health})
	if err != nil {
		return err
	}
	held, err := custody.Open(ctx, custody.Config{
		Program: name, Vault: c.Vault, Keys: c.Keys, TLS: c.TLS, Secrets: true,
	}, custody.Deps{Clock: time.Now, Log: log, Metrics: metrics})
	if err != nil {
		return err
	}
	certificates := held.Certificates
	access, err := c.Redis.Access(certificates)
	if err != nil {
		return fmt.Errorf("%w: %w", service.ErrConfig, err)
	}
	open, err := listen(ctx, c)
	if err != nil {
		return err
	}
	defer open.close()
	simulation, err := c.simulation(open)
	if err != nil {
		return fmt.Errorf("%w: %w", service.ErrConfig, err)
	}
	board := verification.NewEverywhere(near{finder, simulation}, access, verification.RedisDeps{Clock: time.Now, Log: log})
	defer board.Close()
	gateway := server.New(server.Config{}, server.Deps{Board: board, Secrets: held.Secrets, Clock: time.Now, Log: log, Metrics: metrics})
	var network *simulator.Simulator
	if simulation != nil {
		network, err = simulator.New(*simulation, simulator.Deps{Receiver: gateway, Clock: time.Now, Log: log, Metrics: metrics})
		if err != nil {
			return fmt.Errorf("%w: %w", service.ErrConfig, err)
		}
	}
	router, err := c.router(network, route.Deps{Receiver: gateway, Clock: time.Now, Log: log, Metrics: metrics, HTTP: providerClient()})
	if err != nil {
		return fmt.Errorf("%w: %w", service.ErrConfig, err)
	}
	defer running(ctx, router)()
	// Without any of these it still does half of its work, or will again.
	health.Want("redis", board.Health)
	health.Want("keys", held.Check)
	health.Want("certificates", certificates.Check)
	health.Want("routes", router.Health)
	answering := []service.Listener{{
		Name: "sending", Open: tls.NewListener(open.sending, certificates.Server()),
		Handler: answers(router, log.With(slog.String("part", "sending"))),
	}}
	if network != nil {
		answering = append(answering, service.Listener{Name: "phone", Open: open.phone, Handler: network.Handler()})
	}
	if open.hooks != nil {
		log.InfoContext(ctx, "providers may call", slog.Any("routes", router.Hooked()))
		answering = append(answering, service.Listener{Name: "hooks", Open: open.hooks, Handler: router.Hooks()})
	}
	answering = append(answering, service.Listener{Name: "admin", Open: open.admin, Handler: service.AdminHandler(health, metrics)})
	return service.Serve(ctx, service.Options{Log: log, Health: health}, answering...)
}

// answers is what other programs are answered by: api-server has messages sent and says which were used, control-panel reads
// the report, and neither may do what the other does.
func answers(router *route.Router, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", smsoverhttp.NewHandler(router, []string{"api-server"}, log))
	mux.Handle(smsoverhttp.ReportPath, smsoverhttp.NewReportHandler(router.Report, []string{"control-panel"}))
	return mux
}

// running has the router's providers run, until what it returns is called: after the last answer, and then it
// waits for them.
func running(ctx context.Context, router *route.Router) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		router.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// simulation is the simulated network that is asked for; nil if none is.
func (c *config) simulation(open *listeners) (*simulator.Config, error) {
	if !c.Simulate {
		return nil, nil //nolint:nilnil // none is asked for
	}
	networks, err := c.networks()
	if err != nil {
		return nil, err
	}
	return &simulator.Config{
		Embedded: true, Addresses: append(open.addresses(), c.Redis.Addresses...), Networks: networks, InboundNumber: sms.Number(c.Inbound),
	}, nil
}

// router leads by the table, or to the simulated network alone.
func (c *config) router(network *simulator.Simulator, deps route.Deps) (*route.Router, error) {
	known, table := kinds(network), route.Free(simulated, simulated, true)
	if c.Routes != "" {
		var err error
		if table, err = route.Read(c.Routes, known); err != nil {
			return nil, fmt.Errorf("-providers: %w", err)
		}
	}
	return route.New(table, known, deps)
}

// near leaves out what is found elsewhere, where there is a simulated network: nobody is to verify with
// anybody's number for voters there.
type near struct {
	discovery.Finder
	simulation *simulator.Config
}

// Find implements discovery.Finder.
func (n near) Find(service string) []discovery.Instance {
	return slices.DeleteFunc(n.Finder.Find(service), func(in discovery.Instance) bool {
		return n.simulation != nil && !n.simulation.Near(in.Address)
	})
}

// listeners are open before anything else, so that what is simulated knows where it can be reached. Phone and
// hooks are nil where nobody is to come.
type listeners struct{ sending, phone, hooks, admin net.Listener }

func listen(ctx context.Context, c config) (_ *listeners, err error) {
	l := &listeners{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	for _, one := range []struct {
		name, address string
		wanted        bool
		into          *net.Listener
	}{
		{"sending", c.Listen, true, &l.sending},
		{"the simulated phone", c.Phone, c.Simulate, &l.phone},
		{"providers", c.Hooks, c.Hooks != "", &l.hooks},
		{"probes and metrics", c.Admin, true, &l.admin},
	} {
		if !one.wanted {
			continue
		}
		if *one.into, err = service.Listen(ctx, one.name, one.address); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *listeners) all() []net.Listener {
	all := []net.Listener{l.sending, l.phone, l.hooks, l.admin}
	return slices.DeleteFunc(all, func(one net.Listener) bool { return one == nil })
}

func (l *listeners) close() {
	for _, one := range l.all() {
		_ = one.Close() // Serve may have closed it
	}
}

func (l *listeners) addresses() (out []string) {
	for _, one := range l.all() {
		out = append(out, one.Addr().String())
	}
	return out
}

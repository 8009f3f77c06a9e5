// The SMS gateway as a program of its own: it takes what voters text from the phone networks, and sends
// them codes for the API servers. The providers that connect it to real networks are not part of this
// version; what it has is a simulated phone network, for trying everything out on one machine.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

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
of every cloud), and sends codes for api-server over mutual TLS. It answers /livez,
/readyz, /metrics and /version.

Where Redis is is said by the addresses, or known to Consul: with -consul-address it
writes to each that there is, as they come and go. One that is lost keeps no other
waiting, and gets what it missed when it is back.

In this version it knows no provider of SMS: start it with -simulate, which puts a
page in the phone network's place. Whoever reaches that page can text from any
number, so everything must then be on loopback addresses, Redis too, or in networks that
-simulate-networks names because nobody else is there. Of those that Consul knows,
others are left out.

Every flag is also a variable, SMS_GATEWAY_REDIS_ADDRESSES for -redis-addresses, and a
key of the file that -config names.

Flags:
`

type config struct {
	Listen   string                   `koanf:"listen" doc:"Where api-server has codes sent, host:port. Mutual TLS: nobody else is let in."`
	TLS      string                   `koanf:"tls" doc:"The directory with ca.pem, cert.pem and key.pem of this service. Read again when they change. Required, unless Vault signs one."`
	Keys     string                   `koanf:"keys" doc:"The key file (keys.json) that it shares with api-server and ballot-server; it must exist. Required, unless Vault holds the keys."`
	Vault    vault.Settings           `koanf:"vault"`
	Consul   discovery.Settings       `koanf:"consul"`
	Redis    cloudredis.EverySettings `koanf:"redis"`
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

var errNoProvider = errors.New("no SMS provider is configured, because this version has none: " +
	"say -simulate for a simulated phone network, here or in `popvote up`")

// Validate implements what service.LoadConfig asks.
func (c *config) Validate() error {
	switch {
	case !c.Simulate:
		return errNoProvider
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
	networks, err := c.networks()
	if err != nil {
		return fmt.Errorf("%w: %w", service.ErrConfig, err)
	}
	simulated := simulator.Config{
		Embedded: c.Simulate, Addresses: append(open.addresses(), c.Redis.Addresses...), Networks: networks, InboundNumber: sms.Number(c.Inbound),
	}
	board := verification.NewEverywhere(near{finder, simulated}, access, verification.RedisDeps{Clock: time.Now, Log: log})
	defer board.Close()
	gateway := server.New(server.Config{}, server.Deps{Board: board, Secrets: held.Secrets, Clock: time.Now, Log: log, Metrics: metrics})
	network, err := simulator.New(simulated, simulator.Deps{Receiver: gateway, Clock: time.Now, Log: log, Metrics: metrics})
	if err != nil {
		return fmt.Errorf("%w: %w", service.ErrConfig, err)
	}
	// Without any of these it still does half of its work, or will again.
	health.Want("redis", board.Health)
	health.Want("keys", held.Check)
	health.Want("certificates", certificates.Check)
	return service.Serve(ctx, service.Options{Log: log, Health: health},
		service.Listener{
			Name: "sending", Open: tls.NewListener(open.sending, certificates.Server()),
			Handler: smsoverhttp.NewHandler(network, []string{"api-server"}, log.With(slog.String("part", "sending"))),
		},
		service.Listener{Name: "phone", Open: open.phone, Handler: network.Handler()},
		service.Listener{Name: "admin", Open: open.admin, Handler: service.AdminHandler(health, metrics)})
}

// near leaves out what is found elsewhere: nobody is to verify with anybody's number for voters there.
type near struct {
	discovery.Finder
	simulated simulator.Config
}

// Find implements discovery.Finder.
func (n near) Find(service string) []discovery.Instance {
	return slices.DeleteFunc(n.Finder.Find(service), func(in discovery.Instance) bool { return !n.simulated.Near(in.Address) })
}

// listeners are open before anything else, so that what is simulated knows where it can be reached.
type listeners struct{ sending, phone, admin net.Listener }

func listen(ctx context.Context, c config) (_ *listeners, err error) {
	l := &listeners{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	for _, one := range []struct {
		name, address string
		into          *net.Listener
	}{
		{"sending", c.Listen, &l.sending},
		{"the simulated phone", c.Phone, &l.phone},
		{"probes and metrics", c.Admin, &l.admin},
	} {
		if *one.into, err = service.Listen(ctx, one.name, one.address); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *listeners) all() []net.Listener { return []net.Listener{l.sending, l.phone, l.admin} }

func (l *listeners) close() {
	for _, one := range l.all() {
		if one != nil {
			_ = one.Close() // Serve may have closed it
		}
	}
}

func (l *listeners) addresses() (out []string) {
	for _, one := range l.all() {
		out = append(out, one.Addr().String())
	}
	return out
}

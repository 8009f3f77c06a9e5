// The control panel as a program of its own: operators' page, and behind it the ballot servers, which
// it reaches over mutual TLS. Voting goes on without it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/popvote/popvote/apps/control-panel/clouds"
	"github.com/popvote/popvote/apps/control-panel/operators"
	"github.com/popvote/popvote/apps/control-panel/server"
	"github.com/popvote/popvote/libs/ballotapi/overhttp"
	"github.com/popvote/popvote/libs/custody"
	"github.com/popvote/popvote/libs/discovery"
	"github.com/popvote/popvote/libs/service"
	smsoverhttp "github.com/popvote/popvote/libs/sms/overhttp"
	"github.com/popvote/popvote/libs/vault"
)

const (
	name         = "control-panel"
	ballotServer = "ballot-server"
	smsGateway   = smsoverhttp.Service
)

const usage = `control-panel is where operators open, watch, close and count polls.

It reaches ballot-server over mutual TLS, and prints a log-in link that works once
when it starts. It answers /livez, /readyz, /metrics and /version at -admin.

Who logged in by the link can register passkeys, if -public-origin is a name and not an
address. Once anybody has one, no link is printed, and none lets anybody in by itself:
-recover makes one for an operator who has no passkey at hand.

Where the ballot servers are is said by their addresses, or known to Consul. With
-consul-address it follows them as they come and go, its own cloud's first, and while
Consul is away goes on with those it knows.

The SMS gateways, found in the same way, are asked how their routes do, over mutual TLS
and while anybody looks. None of it decides anything; one that is silent is shown so.

With -nomad-address it also shows the clouds that all this runs in: machines, jobs and
deployments, and with -consul-address the services and who leads. Operators can drain a
cloud and take it back, promote or fail a deployment, scale a job and move its copies.
Neither is waited for: what they said last is shown with its age.

Every flag is also a variable, CONTROL_PANEL_BALLOT_SERVERS for -ballot-servers, and
a key of the file that -config names.

Flags:
`

type config struct {
	Listen   string             `koanf:"listen" doc:"Where operators come, host:port: plain HTTP, for a proxy that ends TLS or for this machine. Never public."`
	Admin    string             `koanf:"admin" doc:"Where probes and metrics are answered, host:port. Never public."`
	Ballots  []string           `koanf:"ballot-servers" doc:"The ballot servers, host:port, separated by commas. Required, unless Consul knows them."`
	Gateways []string           `koanf:"sms-gateways" doc:"The SMS gateways that are asked how their routes do, host:port, separated by commas. Default: those that Consul knows, or none; then no routes are shown."`
	Consul   discovery.Settings `koanf:"consul"`
	Cloud    string             `koanf:"cloud" doc:"The cloud this runs in, by the name that services in Consul have it under: its instances are used first. Default: none is."`
	TLS      string             `koanf:"tls" doc:"The directory with ca.pem, cert.pem and key.pem of this service. Read again when they change. Required, unless Vault signs one."`
	Vault    vault.Settings     `koanf:"vault"`
	Origin   string             `koanf:"public-origin" doc:"The panel's origin as browsers see it (https://panel.example.hk). Default: http:// and the address it listens on."`
	Recover  string             `koanf:"recover" doc:"Makes a recovery link for the operator of this name, prints it, and ends: with it they register a passkey, once, in 15 minutes. Who made it is in the operators' audit chain."`
	Require  bool               `koanf:"require-passkey" doc:"Refuses what changes a poll or the clouds to operators who have no passkey yet. Those who have one always confirm it by it. Needs -public-origin to be a name. Default: for a machine of one's own, off."`
	Needed   int                `koanf:"operators-needed" doc:"How many operators it takes to open, close, extend and publish a poll and to destroy its identity key: 1, or 2, of whom one proposes and another confirms within an hour, each by a passkey."`
	Link     string             `koanf:"login-link-file" doc:"A file, made with mode 0600, for the log-in link, which whoever reads it can use. Default: it is printed on standard output."`
	Nomad    nomadSettings      `koanf:"nomad"`
	Drills   string             `koanf:"drills" doc:"The directory into which popvote drill writes its reports (--reports), which are then shown. Default: none are."`
	Log      service.LogConfig  `koanf:"log"`
}

type nomadSettings struct {
	Address   string `koanf:"address" doc:"Nomad, which knows the clouds: http://host:port, https://host:port, or a task's own socket, unix:///path. Default: no clouds are shown."`
	TokenFile string `koanf:"token-file" doc:"A file with a token to ask Nomad with, read anew for each question. Default: the variable NOMAD_TOKEN, or none."`
}

func defaults() config {
	return config{Listen: "127.0.0.1:8081", Admin: "127.0.0.1:8091", Needed: 1, Log: service.DefaultLog()}
}

// Validate implements what service.LoadConfig asks.
func (c *config) Validate() error {
	if len(c.Ballots) == 0 && c.Consul.Address == "" {
		return errors.New("-ballot-servers or -consul-address is missing")
	}
	if c.Cloud != "" && c.Consul.Address == "" {
		return errors.New("-consul-address, which -cloud needs, is missing")
	}
	if c.TLS == "" && c.Vault.Address == "" {
		return errors.New("-tls or -vault-address is missing")
	}
	return nil
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
	return serve(ctx, c, out, errs)
}

// serve answers until the context ends.
func serve(ctx context.Context, c config, out, errs io.Writer) (err error) {
	wrong := func(err error) error { return fmt.Errorf("%w: %w", service.ErrConfig, err) }
	log, err := service.NewLogger(errs, name, c.Log)
	if err != nil {
		return wrong(err)
	}
	metrics, health := service.NewMetrics(name), new(service.Health)
	finder, err := c.Consul.Open(ctx, map[string][]string{ballotServer: c.Ballots, smsGateway: c.Gateways},
		discovery.Deps{Clock: time.Now, Log: log, Metrics: metrics, Health: health})
	if err != nil {
		return err
	}
	held, err := custody.Open(ctx, custody.Config{Program: name, Vault: c.Vault, TLS: c.TLS}, custody.Deps{Clock: time.Now, Log: log, Metrics: metrics})
	if err != nil {
		return err
	}
	certificates := held.Certificates
	box, err := overhttp.NewClient(overhttp.ClientConfig{
		Finder: finder, Service: ballotServer, Cloud: c.Cloud, TLS: certificates.Client(ballotServer), Clock: time.Now,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, box.Close()) }()

	if c.Recover != "" {
		return makeRecoveryLink(ctx, c, box, out)
	}
	open, err := service.Listen(ctx, "operators", c.Listen)
	if err != nil {
		return err
	}
	defer func() { _ = open.Close() }() // Serve may have closed it
	if c.Origin == "" {
		c.Origin = "http://" + open.Addr().String()
	}
	metrics.MustRegister(box.Metrics())
	deps := server.Deps{Admin: box, Clock: time.Now, Log: log, Metrics: metrics}
	if c.Nomad.Address != "" {
		known, err := clouds.New(clouds.Config{
			Nomad: c.Nomad.Address, NomadTokenFile: c.Nomad.TokenFile, Consul: c.Consul.Address, ConsulTokenFile: c.Consul.TokenFile,
		}, clouds.Deps{Clock: time.Now, Log: log})
		if err != nil {
			return wrong(err)
		}
		go known.Follow(ctx)
		deps.Clouds = known
	}
	if len(c.Gateways) > 0 || c.Consul.Address != "" {
		reporter := smsoverhttp.NewReporter(finder, certificates.Client(smsGateway))
		defer reporter.Close()
		deps.Gateways = server.GatewaysBy(reporter, log)
	}
	panel, err := server.New(server.Config{PublicOrigin: c.Origin, Drills: c.Drills, RequirePasskey: c.Require, OperatorsNeeded: c.Needed}, deps)
	if err != nil {
		return wrong(err)
	}
	defer panel.Close()

	// Its page says so itself, and better than a load balancer would.
	health.Want(ballotServer, func(ctx context.Context) error { _, err := box.Health(ctx); return err })
	health.Want("certificates", certificates.Check)
	// A panel that nobody can enter ends.
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	var unsaid error
	link := panel.LoginLink() // which asks whether there are passkeys: before anybody waits for it
	err = service.Serve(ctx, service.Options{Log: log, Health: health, Started: func([]net.Addr) {
		if unsaid = handOver(c.Link, link, out); unsaid != nil {
			giveUp()
		}
	}},
		service.Listener{Name: "operators", Open: open, Handler: panel.Handler()},
		service.Listener{Name: "admin", Address: c.Admin, Handler: service.AdminHandler(health, metrics)})
	return errors.Join(err, unsaid)
}

// makeRecoveryLink is for an operator who has no passkey at hand. A panel that runs takes the link: both read it in
// the operators' audit chain.
func makeRecoveryLink(ctx context.Context, c config, chain operators.Chain, out io.Writer) error {
	if c.Origin == "" {
		c.Origin = "http://" + c.Listen
	}
	secret, until, err := operators.Recover(ctx, chain, c.Recover, "control-panel -recover", "", time.Now())
	if err != nil {
		return fmt.Errorf("couldn't make a recovery link for %q: %w", c.Recover, err)
	}
	_, err = fmt.Fprintf(out, "%s registers a passkey, once, until %s, at %s\n", c.Recover, until.Format(time.TimeOnly+" MST"), server.LinkTo(c.Origin, secret))
	if err != nil {
		return fmt.Errorf("couldn't print the recovery link: %w", err)
	}
	return nil
}

// handOver gives the log-in link to whoever started the program.
func handOver(path, link string, out io.Writer) error {
	if path == "" {
		how := "Log in, once, at "
		if !server.LogsIn(link) {
			how = "Sign in with a passkey at "
		}
		if _, err := fmt.Fprintln(out, how+link); err != nil {
			return fmt.Errorf("couldn't print the log-in link: %w", err)
		}
		return nil
	}
	// A file that others made, or can read, must not get it: it is replaced.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("couldn't write the log-in link: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // the operator names the file
	if err != nil {
		return fmt.Errorf("couldn't write the log-in link: %w", err)
	}
	_, err = fmt.Fprintln(file, link)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("couldn't write the log-in link: %w", err)
	}
	return nil
}

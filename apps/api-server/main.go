// The API server as a program of its own: the Public Channels API and the voter's page. It keeps
// nothing, so any number of them serve one poll, and any of them will do for any request.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/popvote/popvote/apps/api-server/humancheck"
	"github.com/popvote/popvote/apps/api-server/page"
	"github.com/popvote/popvote/apps/api-server/server"
	"github.com/popvote/popvote/apps/api-server/toll"
	"github.com/popvote/popvote/libs/ballotapi/overhttp"
	"github.com/popvote/popvote/libs/cloudredis"
	"github.com/popvote/popvote/libs/custody"
	"github.com/popvote/popvote/libs/discovery"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/ratelimit"
	"github.com/popvote/popvote/libs/service"
	smsoverhttp "github.com/popvote/popvote/libs/sms/overhttp"
	"github.com/popvote/popvote/libs/vault"
	"github.com/popvote/popvote/libs/verification"
)

const (
	name         = "api-server"
	ballotServer = "ballot-server"
)

const usage = `api-server is the public face of PopVote: the Public Channels API and the voter's page.

It reaches ballot-server and sms-gateway over mutual TLS, hears of voters' SMS
through Redis, and shares the key file with both. It answers /livez, /readyz,
/metrics and /version at -admin.

Where these are is said by their addresses, or known to Consul. With
-consul-address it follows them as they come and go, takes those that pass their
checks, its own cloud's first, sends codes by whichever gateways there are, and uses
its own cloud's Redis and, for codes, that of the cloud where a session is at home.
While Consul is away it goes on with those it knows, and without any Redis within
small limits of its own.

Every flag is also a variable, API_SERVER_REDIS_ADDRESS for -redis-address, and a
key of the file that -config names (redis: {address: …}).

Flags:
`

type config struct {
	Listen    string              `koanf:"listen" doc:"Where voters come, host:port: plain HTTP, for a proxy that ends TLS."`
	Admin     string              `koanf:"admin" doc:"Where probes and metrics are answered, host:port. Never public."`
	Pprof     bool                `koanf:"pprof" doc:"Also serve Go's profiles at -admin. Whoever reaches it can slow the process down."`
	Ballots   []string            `koanf:"ballot-servers" doc:"The ballot servers, host:port, separated by commas. Required, unless Consul knows them."`
	Gateways  []string            `koanf:"sms-gateways" doc:"The SMS gateways that send codes, host:port, separated by commas. Default: those that Consul knows, or none; then polls in which voters receive an SMS answer that none can be sent."`
	Consul    discovery.Settings  `koanf:"consul"`
	Cloud     string              `koanf:"cloud" doc:"The cloud this runs in, by the name that services in Consul have it under: its instances are used first. Default: none is."`
	TLS       string              `koanf:"tls" doc:"The directory with ca.pem, cert.pem and key.pem of this service. Read again when they change. Required, unless Vault signs one."`
	Keys      string              `koanf:"keys" doc:"The key file (keys.json) that it shares with ballot-server and sms-gateway; it must exist. Required, unless Vault holds the keys."`
	Vault     vault.Settings      `koanf:"vault"`
	KeysAge   time.Duration       `koanf:"token-keys-max-age" doc:"How long token keys that can't be fetched from Vault again still seal new tokens; they open for ever. Too short, and a sealed Vault stops the vote; too long, and a key that was retired is still in use. Unused with -keys."`
	Redis     cloudredis.Settings `koanf:"redis"`
	Proxies   []string            `koanf:"trusted-proxies" doc:"Addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are believed, separated by commas, or none where clients connect directly; required: a server that guesses counts all voters as one, or lets each choose an address."`
	Origin    string              `koanf:"public-origin" doc:"The voter page's origin as browsers see it (https://vote.example.hk). Default: whatever Host a request names, and no HSTS."`
	Origins   []string            `koanf:"allow-origin" doc:"Origins of mirrors whose pages may call the API, separated by commas. Default: none."`
	Security  server.Security     `koanf:"security"`
	Inbound   string              `koanf:"inbound-number" doc:"The number voters text, E.164. Default: none; then polls in which voters send an SMS are refused as unavailable."`
	Countries []string            `koanf:"phone-countries" doc:"What voters' phone numbers may begin with (+852,+853), separated by commas, or any. Numbers of other countries are refused before anything is counted or spent. Keep it no wider than the gateway's table."`
	Calls     bool                `koanf:"calls" doc:"Offer voters to whom no SMS comes to have their code spoken in a call. Some route of the SMS gateways has to have a call-price."`
	Challenge int                 `koanf:"challenge-cost" doc:"Work of one proof-of-work try, PBKDF2 iterations. More deters more, and costs this machine one try per session."`
	Most      int                 `koanf:"challenge-most" doc:"The most that -challenge-cost is multiplied by, near this server's limits and for networks whose sessions come to nothing: 1 (never), 2, 4 or 8. Checking costs this machine no more."`
	Human     humancheck.Config   `koanf:"human-check"`
	Admission float64             `koanf:"admission-rate" doc:"How many sessions a second it begins. Who is beyond it waits, first come, first served; ballots that were begun are not held up. From half of it on everybody's proof of work gets dearer. Take what is slowest behind all servers, such as the SMS that can be sent a second, and divide it among them (docs/waiting-room.md)."`
	Held      int                 `koanf:"max-connections" doc:"How many connections it holds at once; further ones wait until one ends. Voters who wait for their phone have one each, some 20 KB."`
	Waiters   int                 `koanf:"max-waiters" doc:"How many voters may wait for their phone at once, each on a connection; further ones are told to come back. Keep it below -max-connections, or they leave nobody else any."`
	Drain     time.Duration       `koanf:"drain" doc:"How long it still takes requests after being told to stop, so that load balancers see it first: twice the time between their probes."`
	Limits    limits              `koanf:"limits"`
	Log       service.LogConfig   `koanf:"log"`
}

type limits struct {
	Scale    float64                   `koanf:"scale" doc:"Multiplies every limit. For benchmarks that play a city from one address, and nothing else."`
	Override map[string]ratelimit.Rate `koanf:"override" doc:"Limits by name, with count and window, as docs/limits.md lists them. The servers that share a Redis count together, and need the same."`

	Polls map[string]map[string]ratelimit.Rate `koanf:"polls" doc:"Limits of single polls, by the poll's id and the limit's name, with count and window. What is done in such a poll is counted apart. As for override, servers that share a Redis need the same."`
}

func defaults() config {
	return config{
		Listen: "127.0.0.1:8080", Admin: "127.0.0.1:8090", Challenge: 2000, Most: toll.Highest.Times(), Admission: server.DefaultAdmissionRate, Held: server.MaxConnections, Waiters: server.MaxWaiters, Drain: 5 * time.Second, KeysAge: keyring.DefaultMaxAge,
		Countries: []string{"+852"}, Limits: limits{Scale: 1}, Log: service.DefaultLog(),
	}
}

// Validate implements what service.LoadConfig asks.
func (c *config) Validate() error {
	for _, required := range []struct {
		flag    string
		missing bool
	}{
		{"-ballot-servers or -consul-address", len(c.Ballots) == 0 && c.Consul.Address == ""},
		{"-consul-address, which -cloud needs,", c.Cloud != "" && c.Consul.Address == ""},
		{"-tls or -vault-address", c.TLS == "" && c.Vault.Address == ""},
		{"-keys or -vault-address", c.Keys == "" && c.Vault.Address == ""},
		{"-redis-address or -consul-address", c.Redis.Address == "" && c.Consul.Address == ""},
		{"-trusted-proxies", len(c.Proxies) == 0},
	} {
		if required.missing {
			return fmt.Errorf("%s is missing", required.flag)
		}
	}
	if c.Challenge < 1 {
		return errors.New("-challenge-cost must be at least 1")
	}
	if _, err := toll.StepOf(c.Most); err != nil {
		return errors.New("-challenge-most must be 1, 2, 4 or 8")
	}
	if c.Admission <= 0 {
		return errors.New("-admission-rate must be more than 0")
	}
	if c.Held < 1 {
		return errors.New("-max-connections must be at least 1")
	}
	if c.Waiters < 1 {
		return errors.New("-max-waiters must be at least 1")
	}
	if c.Drain < 0 {
		return errors.New("-drain must not be negative")
	}
	// Fetched every half minute, and looked for by others after ten: what is shorter stops the vote for nothing.
	if c.KeysAge < 10*time.Minute {
		return errors.New("-token-keys-max-age must be at least 10m")
	}
	// Made here, it would be a key file that no other program has.
	if _, err := os.Stat(c.Keys); c.Keys != "" && err != nil {
		return fmt.Errorf("-keys: there is no key file: %w", err)
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
	return serve(ctx, c, errs)
}

// serve answers until the context ends.
func serve(ctx context.Context, c config, errs io.Writer) (err error) {
	service.Tune()
	wrong := func(err error) error { return fmt.Errorf("%w: %w", service.ErrConfig, err) }
	log, err := service.NewLogger(errs, name, c.Log)
	if err != nil {
		return wrong(err)
	}
	metrics, health := service.NewMetrics(name), new(service.Health)
	finder, err := c.Consul.Open(ctx, map[string][]string{
		ballotServer: c.Ballots, smsoverhttp.Service: c.Gateways, cloudredis.Service: c.Redis.Addresses(),
	}, discovery.Deps{Clock: time.Now, Log: log, Metrics: metrics, Health: health})
	if err != nil {
		return err
	}
	held, err := custody.Open(ctx, custody.Config{
		Program: name, Vault: c.Vault, Keys: c.Keys, TLS: c.TLS, Tokens: true, TokensMaxAge: c.KeysAge, Secrets: true,
	}, custody.Deps{Clock: time.Now, Log: log, Metrics: metrics})
	if err != nil {
		return err
	}
	keys, certificates := held.Secrets, held.Certificates
	redis, err := c.Redis.Link(finder, c.Cloud, certificates)
	if err != nil {
		return wrong(err)
	}
	defer func() { err = errors.Join(err, redis.Close()) }()
	// Gateways write to every cloud's, so who waits here hears as well from another.
	heard, err := c.Redis.LinkAnywhere(finder, c.Cloud, certificates)
	if err != nil {
		return wrong(err)
	}
	defer func() { err = errors.Join(err, heard.Close()) }()
	notices := verification.NewRedis(verification.RedisConfig{Link: heard}, verification.RedisDeps{Clock: time.Now, Log: log})
	defer notices.Close()
	access, err := c.Redis.Access(certificates)
	if err != nil {
		return wrong(err)
	}
	homes := verification.NewHomes(finder, access, time.Now)
	defer func() { err = errors.Join(err, homes.Close()) }()
	board := verification.NewFallback(notices, homes, time.Now)
	secret, err := keys.Secret(ctx, keyring.Verification, "")
	if err != nil {
		return err
	}
	tuning := ratelimit.Config{Scale: c.Limits.Scale, Override: c.Limits.Override, Polls: c.Limits.Polls}
	if tuning.Changed() {
		log.WarnContext(ctx, "the limits are not those of the table", slog.Any("limits", tuning))
	}
	limiter, err := ratelimit.NewShared(ratelimit.SharedConfig{Config: tuning, Redis: redis, Secret: secret}, ratelimit.SharedDeps{Clock: time.Now, Log: log})
	if err != nil {
		return wrong(err)
	}
	defer limiter.Close()
	box, err := overhttp.NewClient(overhttp.ClientConfig{
		Finder: finder, Service: ballotServer, Cloud: c.Cloud, TLS: certificates.Client(ballotServer), Clock: time.Now,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, box.Close()) }()

	metrics.MustRegister(box.Metrics(), limiter)
	human, err := humancheck.New(c.Human, humancheck.Deps{Clock: time.Now, Log: log})
	if err != nil {
		return wrong(err)
	}
	deps := server.Deps{
		Caster: box, Reader: box, Tokens: held.Tokens, Secrets: keys, Board: board, Limiter: limiter,
		Clock: time.Now, Log: log, Metrics: metrics, Human: human,
		Page: page.New(page.Config{Secure: strings.HasPrefix(c.Origin, "https://"), FrameOrigin: c.Human.Origin}),
	}
	if len(c.Gateways) > 0 || c.Consul.Address != "" {
		sender := smsoverhttp.NewClient(smsoverhttp.ClientConfig{Finder: finder, Cloud: c.Cloud, TLS: certificates.Client(smsoverhttp.Service), Clock: time.Now})
		defer sender.Close()
		deps.Sender, deps.Confirmer = sender, sender
	}
	s, err := server.New(ctx, server.Config{
		TrustedProxies: c.Proxies, PublicOrigin: c.Origin, AllowedOrigins: c.Origins,
		InboundNumber: c.Inbound, PhoneCountries: c.Countries, MaxWaiters: c.Waiters,
		ChallengeCost: c.Challenge, ChallengeMost: c.Most, AdmissionRate: c.Admission, Security: c.Security, Calls: c.Calls,
	}, deps)
	if err != nil {
		return wrong(err)
	}
	defer s.Close()

	health.Need(name, s.Ready)
	// All servers lose these at once: with all of them out of the load balancer, voters would not even
	// be told that they may try again.
	health.Want(ballotServer, func(ctx context.Context) error { _, err := box.Polls(ctx); return err })
	health.Want("redis", func(ctx context.Context) error { return errors.Join(redis.Check(ctx), board.Health(ctx)) })
	health.Want("keys", held.Check)
	health.Want("certificates", certificates.Check)
	admin := service.AdminHandler(health, metrics)
	if c.Pprof {
		admin = service.Profiles(admin)
	}
	log.InfoContext(ctx, "starting", slog.Int("ballot_servers", len(c.Ballots)), slog.Int("sms_gateways", len(c.Gateways)),
		slog.String("consul", c.Consul.Address), slog.String("cloud", c.Cloud))
	return service.Serve(ctx, service.Options{Log: log, Health: health, Drain: c.Drain},
		service.Listener{Name: "voters", Address: c.Listen, Handler: s.Handler(), WriteTime: server.WriteTime, Connections: c.Held},
		service.Listener{Name: "admin", Address: c.Admin, Handler: admin})
}

package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	consul "github.com/hashicorp/consul/api"
	vault "github.com/hashicorp/vault/api"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/libs/custody"
	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/mtls/devca"
	"github.com/popvote/popvote/libs/pgcluster"
	vaultlogin "github.com/popvote/popvote/libs/vault"
	"github.com/popvote/popvote/libs/vault/setup"
)

// Edge says where what a cluster is made of is.
type Edge struct {
	// Tools is the directory with consul and vault, Jobs that of the jobs (for HAProxy's template), Policies
	// that of Vault's policies and settings.
	Tools, Jobs, Policies string
}

const (
	haproxy = "haproxy"
	// haproxyProgram is Debian's, as in the jobs.
	haproxyProgram = "/usr/sbin/haproxy"
	// edgeBox is the database of the edge's box.
	edgeBox = "popvote_edge"
	// cloud is the only one.
	cloud = "bench"
	// unlimited is what one address may do at the edge, where it plays a city.
	unlimited = "1000000000"
)

// cluster is a site whose programs find each other by Consul, and have keys, certificates and passwords
// from Vault.
type cluster struct {
	site
	edge   *Edge
	consul *consul.Client
	agent  string // host:port
	vault  *vault.Client
}

// startEdge starts an API server and a ballot server as they run in a cluster, and HAProxy before them; their box
// is a database of its own on the same server as the other one's.
func startEdge(ctx context.Context, o Options, beside *apart) (*instance, error) {
	i := &instance{admins: map[string]string{}}
	dir, err := i.dataDir(o.Dir)
	if err != nil {
		return i, err
	}
	c := &cluster{site: site{dir: dir, programs: o.Programs, profiles: o.Profile != ""}, edge: o.Edge}
	if err := c.makeBox(ctx, beside.database, edgeBox); err != nil {
		return i, err
	}
	for _, start := range []func(context.Context, *instance) error{c.startConsul, c.startVault} {
		if err := start(ctx, i); err != nil {
			return i, err
		}
	}
	if err := c.fillVault(ctx, beside.database); err != nil {
		return i, err
	}
	ctx, cancel := context.WithCancel(ctx) // of what keeps keys and certificates current in this process
	i.onClose(func() error { cancel(); return nil })

	ballots, err := c.startBallots(ctx, i, beside.database)
	if err != nil {
		return i, err
	}
	ports, err := freePorts(3)
	if err != nil {
		return i, err
	}
	https, http, admin := ports[0], ports[1], ports[2]
	api, err := c.startAPI(ctx, i, "https://"+loopback(https))
	if err != nil {
		return i, err
	}
	edge, err := c.startHAProxy(ctx, i, map[string]string{
		"EDGE_USER": "", "EDGE_ADDRESS": "127.0.0.1", "EDGE_HTTPS": https, "EDGE_HTTP": http, "EDGE_CERTIFICATE": filepath.Join(dir, "edge.pem"),
		"EDGE_BALANCERS": "", "EDGE_REQUESTS": unlimited, "EDGE_CONNECTIONS": unlimited, "EDGE_HOOKS": "",
		"NOMAD_DC": cloud, "NOMAD_ADDR_admin": loopback(admin),
	})
	if err != nil {
		return i, err
	}
	i.api.address = loopback(https)
	i.serving = append(serving{{haproxy, edge}, {apiServer, api}, {ballotServer, ballots}}, beside.postgres...)
	held, err := c.custody(ctx, apiServer)
	if err != nil {
		return i, err
	}
	return i, i.prepare(ctx, held.Tokens)
}

// tool starts one of the programs that are not ours. It has nothing of the environment that is meant for
// another of its kind.
func (c *cluster) tool(i *instance, name, binary string, args ...string) (*process, error) {
	p := newProcess(name, binary, args)
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir, "TMPDIR=" + c.dir, "CHECKPOINT_DISABLE=1"}
	if err := p.run(); err != nil {
		return nil, err
	}
	// All it has is thrown away, so how it ends is of no interest.
	i.onClose(func() error { _ = p.stop(); return nil })
	return p, nil
}

func (c *cluster) startConsul(ctx context.Context, i *instance) error {
	ports, err := freePorts(4)
	if err != nil {
		return err
	}
	p, err := c.tool(i, "consul", filepath.Join(c.edge.Tools, "consul"), "agent", "-dev", "-node="+cloud, "-bind=127.0.0.1", "-client=127.0.0.1",
		"-disable-host-node-id", "-log-level=warn", "-http-port="+ports[0], "-server-port="+ports[1], "-serf-lan-port="+ports[2], "-serf-wan-port="+ports[3],
		"-dns-port=-1", "-grpc-port=-1", "-grpc-tls-port=-1", "-hcl=disable_update_check = true")
	if err != nil {
		return err
	}
	c.agent = loopback(ports[0])
	if c.consul, err = consul.NewClient(&consul.Config{Address: c.agent}); err != nil {
		return fmt.Errorf("couldn't use Consul: %w", err)
	}
	return p.until(ctx, func(ctx context.Context) error {
		found, _, err := c.consul.Health().Service("consul", "", true, new(consul.QueryOptions).WithContext(ctx))
		if err == nil && len(found) == 0 {
			err = errors.New("it has no leader")
		}
		return err
	})
}

// register puts a program into the catalogue as Nomad does, with the check of its job; without one if admin
// is empty.
func (c *cluster) register(name, address, admin string) error {
	host, text, err := net.SplitHostPort(address)
	port, e := strconv.Atoi(text)
	if err = errors.Join(err, e); err != nil {
		return fmt.Errorf("couldn't register %s: %w", name, err)
	}
	s := &consul.AgentServiceRegistration{ID: name, Name: name, Address: host, Port: port, Meta: map[string]string{"cloud": cloud}}
	if admin != "" {
		_, s.Meta["admin"], _ = net.SplitHostPort(admin) // as above
		s.Check = &consul.AgentServiceCheck{HTTP: "http://" + admin + "/readyz", Interval: "5s", Timeout: "3s", Status: consul.HealthPassing}
	}
	if err := c.consul.Agent().ServiceRegister(s); err != nil {
		return fmt.Errorf("couldn't register %s: %w", name, err)
	}
	return nil
}

func (c *cluster) startVault(ctx context.Context, i *instance) error {
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	config := filepath.Join(c.dir, "vault.hcl")
	err = os.WriteFile(config, fmt.Appendf(nil, `
storage "inmem" {}
listener "tcp" {
  address         = %q
  cluster_address = %q
  tls_disable     = true
}
api_addr      = "http://%[1]s"
disable_mlock = true
log_level     = "warn"
`, loopback(ports[0]), loopback(ports[1])), 0o600)
	if err != nil {
		return fmt.Errorf("couldn't configure Vault: %w", err)
	}
	p, err := c.tool(i, "vault", filepath.Join(c.edge.Tools, "vault"), "server", "-config="+config)
	if err != nil {
		return err
	}
	if c.vault, err = vault.NewClient(&vault.Config{Address: "http://" + loopback(ports[0]), HttpClient: &http.Client{Transport: &http.Transport{}}}); err != nil {
		return fmt.Errorf("couldn't use Vault: %w", err)
	}
	c.vault.ClearToken() // the environment's
	err = p.until(ctx, func(ctx context.Context) error { _, err := c.vault.Sys().SealStatusWithContext(ctx); return err })
	if err != nil {
		return err
	}
	born, err := c.vault.Sys().InitWithContext(ctx, &vault.InitRequest{SecretShares: 1, SecretThreshold: 1})
	if err != nil {
		return fmt.Errorf("couldn't initialise Vault: %w", err)
	}
	c.vault.SetToken(born.RootToken)
	if _, err := c.vault.Sys().UnsealWithContext(ctx, born.KeysB64[0]); err != nil {
		return fmt.Errorf("couldn't unseal Vault: %w", err)
	}
	return p.until(ctx, func(ctx context.Context) error {
		h, err := c.vault.Sys().HealthWithContext(ctx)
		if err == nil && (h.Sealed || h.Standby) {
			err = errors.New("it is not active")
		}
		return err
	})
}

// fillVault sets Vault up as a cluster's is, and writes a token for each program: there is no Nomad that would
// say who they are.
func (c *cluster) fillVault(ctx context.Context, database *pgcluster.Node) error {
	_, err := setup.Apply(ctx, c.vault, setup.Config{Files: os.DirFS(c.edge.Policies), Values: map[string]string{
		"database_url":      "postgresql://{{username}}:{{password}}@" + database.Addr() + "/" + edgeBox + "?sslmode=disable",
		"database_admin":    pgcluster.Superuser,
		"database_password": "unused", // the server trusts loopback
	}})
	if err != nil {
		return fmt.Errorf("couldn't set Vault up: %w", err)
	}
	for _, program := range []string{apiServer, ballotServer, controlPanel} {
		made, err := c.vault.Auth().Token().CreateWithContext(ctx, &vault.TokenCreateRequest{Policies: []string{program}, Period: "30m"})
		if err != nil {
			return fmt.Errorf("couldn't make a token for %s: %w", program, err)
		}
		if err := os.WriteFile(c.token(program), []byte(made.Auth.ClientToken), 0o600); err != nil {
			return fmt.Errorf("couldn't write a token: %w", err)
		}
	}
	return nil
}

func (c *cluster) token(of string) string { return filepath.Join(c.dir, of+".token") }

// custody is what Vault gives a program, for this process to be one.
func (c *cluster) custody(ctx context.Context, program string) (*custody.Held, error) {
	return custody.Open(ctx, custody.Config{
		Program: program, Vault: vaultlogin.Settings{Address: c.vault.Address(), Token: c.token(program)}, Tokens: program == apiServer,
	}, custody.Deps{Clock: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
}

// startBallots starts the ballot server, and asks it from now on what is in its box.
func (c *cluster) startBallots(ctx context.Context, i *instance, database *pgcluster.Node) (pid int, err error) {
	dsn := c.dsn("anybody") // who, is Vault's to say
	if err := os.WriteFile(dsn, []byte(database.DSN("nobody", edgeBox)+"\n"), 0o600); err != nil {
		return 0, fmt.Errorf("couldn't write the DSN: %w", err)
	}
	pid, at, err := i.start(ctx, &c.site, ballotServer, "-listen", "127.0.0.1:0", "-database", dsn, "-cluster=false",
		"-vault-address", c.vault.Address(), "-vault-token-file", c.token(ballotServer))
	if err != nil {
		return 0, err
	}
	if err := c.register(ballotServer, at["services"], at["admin"]); err != nil {
		return 0, err
	}
	held, err := c.custody(ctx, controlPanel)
	if err != nil {
		return 0, err
	}
	return pid, i.openBox(held.Certificates, at["services"])
}

func (c *cluster) startAPI(ctx context.Context, i *instance, origin string) (pid int, err error) {
	redis, err := i.startRedis(c.dir)
	if err != nil {
		return 0, err
	}
	if err := c.register("redis", redis, ""); err != nil {
		return 0, err
	}
	pid, at, err := i.start(ctx, &c.site, apiServer, "-listen", "127.0.0.1:0", "-consul-address", c.agent, "-cloud", cloud,
		"-vault-address", c.vault.Address(), "-vault-token-file", c.token(apiServer), "-public-origin", origin,
		"-trusted-proxies", "127.0.0.1", "-inbound-number", "+85264500000", "-challenge-cost", "1", "-challenge-most", "1", "-admission-rate", noWaiting, "-limits-scale", limitScale, "-drain", "0s")
	if err != nil {
		return 0, err
	}
	return pid, c.register(apiServer, at["voters"], at["admin"])
}

// startHAProxy starts what voters meet, as the job does, with a certificate that they trust.
func (c *cluster) startHAProxy(ctx context.Context, i *instance, env map[string]string) (pid int, err error) {
	certificates := c.certificates(haproxy)
	if _, err := devca.Make(devca.Config{Dir: filepath.Dir(certificates), Services: []string{haproxy}, Hosts: []string{"127.0.0.1"}, Clock: time.Now}); err != nil {
		return 0, err
	}
	var text [3][]byte
	for n, name := range []string{mtls.CAFile, mtls.CertFile, mtls.KeyFile} {
		if text[n], err = os.ReadFile(filepath.Join(certificates, name)); err != nil {
			return 0, fmt.Errorf("couldn't read HAProxy's certificate: %w", err)
		}
	}
	i.api.tls = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	i.api.tls.RootCAs.AppendCertsFromPEM(text[0])
	if err := os.WriteFile(env["EDGE_CERTIFICATE"], slices.Concat(text[1], text[2]), 0o600); err != nil {
		return 0, fmt.Errorf("couldn't write HAProxy's certificate: %w", err)
	}
	template, err := os.ReadFile(filepath.Join(c.edge.Jobs, "templates", "haproxy.cfg.tpl"))
	if err != nil {
		return 0, fmt.Errorf("couldn't read HAProxy's template: %w", err)
	}
	config, err := render(string(template), env, c.find)
	if err != nil {
		return 0, err
	}
	file := filepath.Join(c.dir, "haproxy.cfg")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return 0, fmt.Errorf("couldn't configure HAProxy: %w", err)
	}
	p, err := c.tool(i, haproxy, haproxyProgram, "-W", "-db", "-f", file)
	if err != nil {
		return 0, err
	}
	return p.cmd.Process.Pid, p.until(ctx, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+env["NOMAD_ADDR_admin"]+"/readyz", nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = res.Body.Close() }()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("it has no API server: %s", res.Status)
		}
		return nil
	})
}

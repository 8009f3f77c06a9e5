//go:build unix

package cluster

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/libs/ballotapi/overhttp"
	"github.com/popvote/popvote/libs/custody"
	"github.com/popvote/popvote/libs/discovery"
	"github.com/popvote/popvote/libs/vault"
	"github.com/popvote/popvote/libs/vault/setup"
)

// The jobs, in the order of jobs/README.md, and how many copies of each are there when all is well; 0 for
// what runs when it is asked for.
var jobs = []struct {
	name   string
	copies int
}{
	{"redis", 3},
	{"migrate", 0},
	{"ballot-server", 3},
	{"sms-gateway", 3},
	{"api-server", 3},
	{"haproxy", 3},
	{"control-panel", 1},
	{"verify", 0},
	{"prober", 3},
}

// site is the var-file of this cluster, below Options.Jobs.
const site = "vars/lab.vars.hcl"

// Place sets up what the services need, and has Nomad run them: their database, Vault, and the jobs of
// Options.Jobs. What is there already stays as it is.
func (c *Cluster) Place(ctx context.Context) error {
	if err := c.makeDatabase(ctx); err != nil {
		return err
	}
	if err := c.setVault(ctx); err != nil {
		return err
	}
	if _, err := c.nomad(ctx, "namespace", "apply", "acl/namespace.popvote.hcl"); err != nil {
		return err
	}
	for _, job := range jobs {
		if _, err := c.nomad(ctx, "job", "run", "-detach", "-var-file="+site, job.name+".nomad.hcl"); err != nil {
			return err
		}
		if job.name == "migrate" {
			if err := c.migrate(ctx); err != nil {
				return err
			}
		}
	}
	c.say("Nomad: %d jobs", len(jobs))
	for _, job := range jobs {
		if job.copies == 0 {
			continue
		}
		what := fmt.Sprintf("%s: %d ready", job.name, job.copies)
		if err := c.await(ctx, what, func(ctx context.Context) error { return c.passing(ctx, job.name, job.copies) }); err != nil {
			return err
		}
	}
	// Nomad watches for a while whether they stay well.
	return c.await(ctx, "Nomad: every job is deployed", func(ctx context.Context) (err error) {
		for _, job := range jobs {
			if job.copies > 0 {
				err = errors.Join(err, c.deployed(ctx, job.name))
			}
		}
		return err
	})
}

// instance is a copy of a service, as Consul tells of it.
type instance struct {
	Service struct {
		ID, Address string
		Port        uint16
		Meta        map[string]string
	}
}

// instances are a service's copies that pass all their checks, as the first Consul that answers knows them.
func (c *Cluster) instances(ctx context.Context, service string) (found []instance, err error) {
	for _, cloud := range c.Network.All() {
		if err = c.ask(ctx, "GET", cloud.Addr, consulPort, "/v1/health/service/"+service+"?passing", "", nil, &found); err == nil {
			return found, nil
		}
	}
	return nil, err
}

func (c *Cluster) passing(ctx context.Context, service string, want int) error {
	found, err := c.instances(ctx, service)
	if err != nil {
		return err
	}
	if n := len(found); n < want {
		return fmt.Errorf("%d are", n)
	}
	return nil
}

// servicesReady says which service has too few copies that pass all their checks.
func (c *Cluster) servicesReady(ctx context.Context) error {
	for _, job := range jobs {
		if err := c.passing(ctx, job.name, job.copies); job.copies > 0 && err != nil {
			return fmt.Errorf("of %s, %d should be ready: %w", job.name, job.copies, err)
		}
	}
	return nil
}

// nomad runs a command of Nomad's in the directory of the jobs, and returns what it printed.
func (c *Cluster) nomad(ctx context.Context, args ...string) (string, error) {
	binary, err := c.find("nomad")
	if err != nil {
		return "", err
	}
	cmd := c.Network.Cloud(0).Command(binary, args...)
	cmd.Dir = c.Jobs
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.Dir, "NO_PROXY=*", "NOMAD_ADDR=http://127.0.0.1:4646"}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("couldn't run nomad: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("couldn't run nomad %s: %w\n%s%s", strings.Join(args, " "), err, errs.String(), out.String())
	}
	return out.String(), nil
}

// migrate has the job make the database's tables, and waits for it.
func (c *Cluster) migrate(ctx context.Context) error {
	var dispatched struct{ DispatchedJobID string }
	addr := c.Network.Cloud(0).Addr
	if err := c.ask(ctx, "PUT", addr, nomadPort, "/v1/job/migrate/dispatch?namespace=popvote", "", map[string]any{}, &dispatched); err != nil {
		return err
	}
	return c.await(ctx, "PostgreSQL: the ballot box's tables", func(ctx context.Context) error {
		var allocations []struct{ ID, ClientStatus string }
		if err := c.ask(ctx, "GET", addr, nomadPort, "/v1/job/"+dispatched.DispatchedJobID+"/allocations?namespace=popvote", "", nil, &allocations); err != nil {
			return err
		}
		for _, a := range allocations {
			switch a.ClientStatus {
			case "complete":
				return nil
			case "failed", "lost":
				return fmt.Errorf("it failed: nomad alloc logs -namespace popvote -stderr %s", a.ID)
			}
		}
		return errors.New("it hasn't ended")
	})
}

// makeDatabase makes the database and its roles, as whoever runs it would; see the usage of ballot-server
// and vault-policies/README.md.
func (c *Cluster) makeDatabase(ctx context.Context) error {
	primary, err := c.Primary(ctx)
	if err != nil {
		return err
	}
	dsn, err := c.DSN(primary, "postgres")
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("couldn't connect to the database: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var there bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = 'popvote')").Scan(&there); err != nil || there {
		return err
	}
	for _, statement := range []string{
		"DROP ROLE IF EXISTS vault, popvote_owner, popvote_ballot",
		"CREATE ROLE popvote_owner NOLOGIN",
		"CREATE ROLE popvote_ballot NOLOGIN",
		// What Vault makes credentials with. It is a name and a number of letters and digits: nothing to quote.
		"CREATE ROLE vault LOGIN CREATEROLE PASSWORD '" + c.secrets.Vault + "'",
		"GRANT popvote_owner, popvote_ballot TO vault WITH ADMIN OPTION",
		"GRANT pg_signal_backend TO vault",
		"CREATE DATABASE popvote OWNER popvote_owner",
	} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("couldn't make the database: %w", err)
		}
	}
	c.say("PostgreSQL: database and roles")
	return nil
}

// setVault does what `popvote vault apply` does, and puts in what only an operator has.
func (c *Cluster) setVault(ctx context.Context) error {
	client, err := c.vault()
	if err != nil {
		return err
	}
	hosts := make([]string, len(c.Network.Clouds))
	for i, cloud := range c.Network.All() {
		hosts[i] = netip.AddrPortFrom(cloud.Addr, 5432).String()
	}
	steps, err := setup.Apply(ctx, client, setup.Config{Files: os.DirFS(c.Policies), Values: map[string]string{
		// Each Vault asks the Nomad of its own cloud.
		"jwks_url":          "http://127.0.0.1:4646/.well-known/jwks.json",
		"database_url":      "postgresql://{{username}}:{{password}}@" + strings.Join(hosts, ",") + "/popvote?target_session_attrs=read-write&sslmode=verify-full&sslrootcert=" + c.authority(),
		"database_admin":    "vault",
		"database_password": c.secrets.Vault,
		"audit_first":       filepath.Join(link, "audit", "first.log"),
		"audit_second":      filepath.Join(link, "audit", "second.log"),
	}})
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("couldn't find Vault's policies (--policies): %w", err)
	}
	if err != nil {
		return err
	}
	if len(steps) > 0 {
		c.say("Vault: %d policies, engines, roles and settings", len(steps))
	}
	edge, err := client.Logical().ReadWithContext(ctx, edgeSecret)
	if err != nil || edge != nil {
		return err
	}
	return c.writeEdgeCertificate(ctx, client)
}

// vault is a client with the root token. Every Vault hands on what the active one has to answer.
func (c *Cluster) vault() (*api.Client, error) {
	root, err := c.RootToken()
	if err != nil {
		return nil, err
	}
	client, err := api.NewClient(&api.Config{Address: c.vaultAddress(), HttpClient: c.client(), Timeout: 30 * time.Second})
	if err != nil {
		return nil, fmt.Errorf("couldn't use Vault: %w", err)
	}
	client.SetToken(root)
	return client, nil
}

func (c *Cluster) vaultAddress() string {
	return fmt.Sprintf("https://%s:%d", c.Network.Cloud(0).Addr, vaultPort)
}

// Box is a way to the ballot servers, with the control panel's rights. It holds until the context ends.
func (c *Cluster) Box(ctx context.Context) (*overhttp.Client, error) {
	found, err := c.instances(ctx, "ballot-server")
	if err != nil {
		return nil, err
	}
	var all []string
	for _, f := range found {
		all = append(all, net.JoinHostPort(f.Service.Address, strconv.Itoa(int(f.Service.Port))))
	}
	finder, err := discovery.At(map[string][]string{"ballot-server": all})
	if err != nil {
		return nil, err
	}
	held, err := custody.Open(ctx, custody.Config{
		Program: "control-panel", Vault: vault.Settings{Address: c.vaultAddress(), CA: c.authority(), Token: c.rootFile()},
	}, custody.Deps{Clock: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		return nil, err
	}
	return overhttp.NewClient(overhttp.ClientConfig{
		Finder: finder, Service: "ballot-server", TLS: held.Certificates.Client("ballot-server"), Clock: time.Now,
	})
}

// Edges are the origins where voters come in, one in each cloud.
func (c *Cluster) Edges() (all []string) {
	for _, cloud := range c.Network.All() {
		all = append(all, "https://"+cloud.Addr.String())
	}
	return all
}

// Phones are the origins of the simulated phone network, one for each gateway that is ready.
func (c *Cluster) Phones(ctx context.Context) (all []string, err error) {
	found, err := c.instances(ctx, "sms-gateway")
	for _, f := range found {
		all = append(all, "http://"+net.JoinHostPort(f.Service.Address, f.Service.Meta["phone"]))
	}
	return all, err
}

// CA is who signed the certificates of the edges, of Vault and of PostgreSQL.
func (c *Cluster) CA() (*x509.CertPool, error) {
	text, err := os.ReadFile(c.authority())
	if err != nil {
		return nil, fmt.Errorf("couldn't read the cluster's CA: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return pool, nil
}

// The ballot server as a program of its own: it keeps the polls of a data directory, or of a PostgreSQL
// database that several of it share, and takes ballots from the API servers and orders from the control
// panel over mutual TLS.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/apps/ballot-server/server"
	"github.com/popvote/popvote/libs/ballotapi/overhttp"
	"github.com/popvote/popvote/libs/custody"
	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/service"
	"github.com/popvote/popvote/libs/vault"
)

const name = "ballot-server"

const usage = `ballot-server keeps polls: it takes ballots, closes polls when their time comes, brings
their public logs up to date, and counts. It answers /livez, /readyz, /metrics and
/version at -admin.

Other services reach it at -listen, over mutual TLS with the certificates in -tls:
api-server may cast and read, control-panel may read and administer, nobody else may
do anything. "popvote certs" makes certificates for trying it out. Without -listen
nobody reaches it, and it only keeps what is there.

The keys are in the data directory. So is the database, and then only one process can
have the directory open: not this and "popvote up" as well. With -database it is
PostgreSQL, which several ballot servers may share; their keys must be the same. Its
tables are made, and brought up to date by each new version, with

  ballot-server migrate -database FILE

where FILE holds the DSN of the role that owns them, popvote_owner. The ballot server
itself runs as popvote_ballot, which can neither change nor delete a vote. Make both
roles, and the database, before. A DSN may name several servers, as in
postgres://popvote_ballot@db1:5432,db2:5432,db3:5432/popvote: the primary is found among
them, and found again when a standby has taken its place.

With -vault-address the certificate comes from Vault unless -tls is said, and the keys do
unless -data is. With -database it then connects as Vault says, with credentials that
change all the time: the DSN holds none, and the role of Vault's is a member of
popvote_ballot.

Flags:
`

type config struct {
	Data     string            `koanf:"data" doc:"The data directory. It must exist, with its keys (keys.json). Required, unless the database is PostgreSQL and Vault holds the keys."`
	Database string            `koanf:"database" doc:"A file (mode 0600) that holds the DSN of a PostgreSQL database. Empty: SQLite, in the data directory."`
	Cluster  bool              `koanf:"cluster" doc:"Refuse a PostgreSQL database whose commits wait for no standby: with its server, votes that were acknowledged would be lost."`
	Listen   string            `koanf:"listen" doc:"Where other services call, host:port, over mutual TLS; needs -tls. Empty: nobody can. Never public."`
	TLS      string            `koanf:"tls" doc:"The directory with ca.pem, cert.pem (of spiffe://popvote/ballot-server) and key.pem (mode 0600). They are read again when they change. Not needed where Vault signs one."`
	Vault    vault.Settings    `koanf:"vault"`
	Admin    string            `koanf:"admin" doc:"Where probes and metrics are answered, host:port. Never public."`
	Pprof    bool              `koanf:"pprof" doc:"Also serve Go's profiles at -admin. Whoever reaches it can slow the process down."`
	Log      service.LogConfig `koanf:"log"`
}

// Validate implements what service.LoadConfig asks.
func (c *config) Validate() error {
	if (c.Listen == "" && c.TLS != "") || (c.Listen != "" && c.TLS == "" && c.Vault.Address == "") {
		return errors.New("-listen and -tls go together: there is no interface without certificates")
	}
	if c.Data == "" && c.Vault.Address != "" && c.Database != "" {
		return nil
	}
	if c.Data == "" {
		return errors.New("-data is missing")
	}
	// A directory made here, with new keys, would be an empty box that looks like a lost one.
	if _, err := os.Stat(filepath.Join(c.Data, "keys.json")); err != nil {
		return fmt.Errorf("-data: it is no data directory: %w", err)
	}
	return nil
}

func main() {
	os.Exit(service.RunMain(name, os.Stderr, func(ctx context.Context) error {
		return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}))
}

func run(ctx context.Context, args []string, out, errs io.Writer) error {
	if len(args) > 0 && args[0] == "migrate" {
		return migrate(ctx, args[1:], errs)
	}
	c := config{Cluster: true, Admin: "127.0.0.1:8083", Log: service.DefaultLog()}
	if goOn, err := service.ReadCommand(name, usage, args, &c, out, errs); !goOn {
		return err
	}
	return keep(ctx, c, errs)
}

// keep runs the ballot server until the context ends.
func keep(ctx context.Context, c config, errs io.Writer) error {
	service.Tune()
	log, err := service.NewLogger(errs, name, c.Log)
	if err != nil {
		return fmt.Errorf("%w: %w", service.ErrConfig, err)
	}
	metrics := service.NewMetrics(name)
	has := custody.Config{Program: name, Vault: c.Vault, TLS: c.TLS, Secrets: true}
	if c.Data != "" {
		has.Keys = filepath.Join(c.Data, "keys.json")
	}
	held, err := custody.Open(ctx, has, custody.Deps{Clock: time.Now, Log: log, Metrics: metrics})
	if err != nil {
		return err
	}
	health := new(service.Health)
	health.Want("keys", held.Check)
	box := server.Config{Dir: c.Data}
	if c.Database != "" {
		dsn, err := readDSN(c.Database)
		if err != nil {
			return err
		}
		box = server.Config{DSN: dsn, Cluster: c.Cluster}
		if held.Vault != nil {
			credentials, err := vault.OpenCredentials(ctx, held.Vault, name, log)
			if err != nil {
				return err
			}
			go credentials.Run(ctx)
			box.Credentials = credentials
			health.Want("credentials", func(context.Context) error { return credentials.Err() })
		}
	}
	s, err := server.Open(ctx, box, server.Deps{Secrets: held.Secrets, Clock: time.Now, Log: log, Metrics: metrics})
	if err != nil {
		return err
	}
	health.Need("database", func(ctx context.Context) error { _, err := s.Health(ctx); return err })
	admin := service.AdminHandler(health, metrics)
	if c.Pprof {
		admin = service.Profiles(admin)
	}
	listeners := []service.Listener{{Name: "admin", Address: c.Admin, Handler: admin}}
	if c.Listen != "" {
		l, err := services(ctx, c, held.Certificates, s, log, health, metrics)
		if err != nil {
			return errors.Join(err, s.Close())
		}
		listeners = append(listeners, l)
	}
	err = service.Serve(ctx, service.Options{Log: log, Health: health}, listeners...)
	return errors.Join(err, s.Close())
}

// services is the listener that other services call.
func services(ctx context.Context, c config, certificates mtls.Source, s *server.Server, log *slog.Logger, health *service.Health, metrics prometheus.Registerer) (service.Listener, error) {
	// Files that cannot be read leave the old ones in use: that is for somebody to mend, not a reason to
	// take no more votes.
	health.Want("certificates", certificates.Check)
	const listener = "services"
	open, err := service.Listen(ctx, listener, c.Listen)
	if err != nil {
		return service.Listener{}, err
	}
	served := overhttp.NewServed()
	metrics.MustRegister(served)
	return service.Listener{
		Name:    listener,
		Open:    tls.NewListener(open, certificates.Server()),
		Handler: overhttp.NewHandler(s, overhttp.Production(), overhttp.WithLog(log), overhttp.WithMetrics(served)),
	}, nil
}

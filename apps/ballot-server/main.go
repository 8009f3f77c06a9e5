// The ballot server as a program of its own: it keeps the polls of a data directory. Its network
// interface, mutual TLS for the API servers and the control panel, comes with the cluster; until then
// only what runs in the same process can cast, which is what `popvote up` is.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/popvote/popvote/apps/ballot-server/server"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/service"
)

const name = "ballot-server"

const usage = `ballot-server keeps the polls of a data directory: it closes them when their time
comes, brings their public logs up to date, and answers /livez, /readyz, /metrics
and /version.

It takes no ballots: in this version it has no network interface for them. Where
people are to vote, run "popvote up" on the same data directory instead; only one
of the two can have it open.

Flags:
`

type config struct {
	Data  string            `koanf:"data" doc:"The data directory; required. It must exist, with its keys (keys.json)."`
	Admin string            `koanf:"admin" doc:"Where probes and metrics are answered, host:port. Never public."`
	Log   service.LogConfig `koanf:"log"`
}

// Validate implements what service.LoadConfig asks.
func (c *config) Validate() error {
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
	c := config{Admin: "127.0.0.1:8083", Log: service.DefaultLog()}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(errs)
	service.Flags(flags, &c)
	version := flags.Bool("version", false, "Print the version and exit.")
	flags.Usage = func() {
		_, _ = io.WriteString(errs, usage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", service.ErrConfig, err)
	}
	if *version {
		_, err := fmt.Fprintln(out, name, service.Version())
		return err
	}
	if err := service.LoadConfig(&c, service.Sources{EnvPrefix: "BALLOT_SERVER_", Flags: flags}); err != nil {
		return err
	}
	return keep(ctx, c, errs)
}

// keep runs the ballot server until the context ends.
func keep(ctx context.Context, c config, errs io.Writer) error {
	log, err := service.NewLogger(errs, name, c.Log)
	if err != nil {
		return fmt.Errorf("%w: %w", service.ErrConfig, err)
	}
	keys, err := keyring.OpenFile(filepath.Join(c.Data, "keys.json"), time.Now)
	if err != nil {
		return err
	}
	metrics := service.NewMetrics(name)
	s, err := server.Open(ctx, server.Config{Dir: c.Data}, server.Deps{Secrets: keys, Clock: time.Now, Log: log, Metrics: metrics})
	if err != nil {
		return err
	}
	health := new(service.Health)
	health.Need("database", func(ctx context.Context) error { _, err := s.Health(ctx); return err })
	err = service.Serve(ctx, service.Options{Log: log, Health: health},
		service.Listener{Name: "admin", Address: c.Admin, Handler: service.AdminHandler(health, metrics)})
	return errors.Join(err, s.Close())
}

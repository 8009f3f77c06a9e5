package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/libs/mtls/devca"
)

// clusterServices are the programs that speak to each other.
var clusterServices = []string{"api-server", "ballot-server", "control-panel", "sms-gateway"}

func newCertsCommand() *cobra.Command {
	var (
		out output
		cfg = devca.Config{Clock: time.Now}
	)
	cmd := &cobra.Command{
		Use:   "certs",
		Short: "Make certificates for services on a development machine",
		Long: `Make certificates for services on a development machine: a CA in the directory, and below
it a directory per service with ca.pem, cert.pem and key.pem, as the programs' -tls takes it.

A service is known by the URI in its certificate, spiffe://popvote/<service>; --hosts are only
for other tools. Certificates hold for 30 days. Run it again to renew them: running programs
take the new ones up by themselves, and the CA stays as it is. Nothing else is overwritten.

Whoever can read ca-key.pem can be any service. In production Vault makes certificates.`,
		Example: `  popvote certs --dir certs
  ballot-server -data data -listen 127.0.0.1:8443 -tls certs/ballot-server`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if cfg.Dir == "" {
				return exit.Errorf(exit.Usage, "--dir is missing (see popvote certs --help)")
			}
			made, err := devca.Make(cfg)
			if errors.Is(err, devca.ErrNotOurs) {
				return exit.With(exit.BadData, err)
			}
			if err != nil {
				return err
			}
			until := cfg.Clock().Add(devca.LeafLife).UTC()
			if out.json() {
				return writeJSON(cmd.OutOrStdout(), map[string]any{"directories": made, "until": until.Format(time.RFC3339)})
			}
			t := newTable(cmd.OutOrStdout(), "SERVICE", "DIRECTORY")
			for i, dir := range made {
				t.row(cfg.Services[i], dir)
			}
			if err := t.flush(); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "\nThey hold until %s. Run this again to renew them.\n", until.Format(time.DateOnly))
			return err
		},
	}
	cmd.Flags().StringVar(&cfg.Dir, "dir", "", "the `directory` for the CA and the services' directories")
	cmd.Flags().StringSliceVar(&cfg.Services, "service", clusterServices, "the services, each by its name")
	cmd.Flags().StringSliceVar(&cfg.Hosts, "hosts", []string{"localhost", "127.0.0.1", "::1"}, "names and addresses that the certificates also carry")
	out.flag(cmd.Flags())
	return cmd
}

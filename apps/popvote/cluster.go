package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/popvote/popvote/apps/popvote/internal/cluster"
	"github.com/popvote/popvote/apps/popvote/internal/exit"
)

// clusterFlags are those that every command about the cluster on this machine has.
type clusterFlags struct {
	dir, tools, programs, jobs, policies string
	patience                             time.Duration
}

func (f *clusterFlags) define(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&f.dir, "dir", "data/cluster", "the cluster's directory: keys, data and logs")
	cmd.PersistentFlags().StringVar(&f.tools, "tools", "bin/tools", "where consul, nomad and vault are; what isn't there is taken from PATH")
	cmd.PersistentFlags().StringVar(&f.programs, "programs", "bin", "where our own programs are")
	cmd.PersistentFlags().StringVar(&f.jobs, "jobs", "jobs", "the job files")
	cmd.PersistentFlags().StringVar(&f.policies, "policies", "vault-policies", "Vault's policies and settings")
	cmd.PersistentFlags().DurationVar(&f.patience, "patience", 3*time.Minute, "how long any one step may take")
}

func (f *clusterFlags) cluster(progress io.Writer) (*cluster.Cluster, error) {
	return cluster.New(cluster.Options{
		Dir: f.dir, Tools: f.tools, Programs: f.programs, Jobs: f.jobs, Policies: f.policies, Patience: f.patience,
		Say: func(after time.Duration, step string) {
			_, _ = fmt.Fprintf(progress, "%6.1f s  %s\n", after.Seconds(), step)
		},
	})
}

func newClusterCommand() *cobra.Command {
	f := &clusterFlags{}
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Three clouds on this machine",
		Long: `Three clouds on this machine, each in a network namespace of its own: Consul, Nomad, Vault, and PostgreSQL
under Patroni. As root, on Linux; see docs/cluster.md.

` + exit.Help(),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f.define(cmd)
	cmd.AddCommand(newClusterUpCommand(f), newClusterDownCommand(f), newClusterStatusCommand(f), newClusterRebalanceCommand(f))
	return cmd
}

func newClusterUpCommand(f *clusterFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "up",
		Short: "Bring up what isn't",
		Long: `Bring up what isn't, and return when all of it works. It goes on where an earlier one was interrupted, and brings
back a cloud that was killed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.cluster(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := c.Up(cmd.Context()); err != nil {
				return err
			}
			if err := openSamples(cmd.Context(), c); err != nil {
				return err
			}
			return writeCluster(cmd.OutOrStdout(), c.Status(cmd.Context()))
		},
	}
}

// openSamples has the sample polls open, and leaves the shares of their keys in the cluster's directory.
func openSamples(ctx context.Context, c *cluster.Cluster) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	box, err := c.Box(ctx)
	if err != nil {
		return fmt.Errorf("couldn't reach the ballot servers: %w", err)
	}
	return errors.Join(seedDemo(ctx, box, c.Dir, time.Now()), box.Close())
}

func newClusterDownCommand(f *clusterFlags) *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "End everything and remove it, after a crash too",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.cluster(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return c.Down(cmd.Context(), keep)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "leave the directory: a later up goes on with what is in it")
	return cmd
}

func newClusterStatusCommand(f *clusterFlags) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "status",
		Short: "What each cloud's programs say, and who leads",
		Long:  `What each cloud's programs say, and who leads. Exits with 1 if not all is as it should be.`,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			c, err := f.cluster(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			s := c.Status(cmd.Context())
			if out.json() {
				err = writeJSON(cmd.OutOrStdout(), s)
			} else {
				err = writeCluster(cmd.OutOrStdout(), s)
			}
			if err != nil {
				return err
			}
			if err := c.Ready(cmd.Context()); err != nil {
				return fmt.Errorf("not all is as it should be: %w", err)
			}
			return nil
		},
	}
	out.flag(cmd.Flags())
	return cmd
}

func newClusterRebalanceCommand(f *clusterFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "rebalance",
		Short: "Spread the services' copies evenly over the clouds again",
		Long: `Spread the services' copies evenly over the clouds again, after one has come back: of each job that isn't, Nomad
places every copy anew, one at a time, by another value of its variable "rebalance". Voters go on meanwhile.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.cluster(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if _, err := c.Rebalance(cmd.Context()); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), c.Spread(cmd.Context()))
			return err
		},
	}
}

func writeCluster(w io.Writer, s cluster.Status) error {
	t := newTable(w, "CLOUD", "ADDRESS", "CONSUL", "VAULT", "DATABASE", "NOMAD")
	for _, c := range s.Clouds {
		consul, nomad := c.Consul, c.Nomad
		if c.Name == s.Consul {
			consul = "leader"
		}
		if c.Name == s.Nomad {
			nomad = "leader"
		}
		database := c.Patroni
		if c.Name == s.Synchronous {
			database += ", synchronous"
		}
		t.row(c.Name, c.Address, consul, c.Vault, database, nomad)
	}
	return t.flush()
}

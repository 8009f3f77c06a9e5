package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/popvote/popvote/apps/popvote/internal/datadir"
	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/service"
)

func newUpCommand() *cobra.Command {
	f := &upFlags{}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start everything in one process",
		Long: `Start everything in one process: the voter's page and API, the ballot server, the control panel,
and a simulated phone network in place of the real one.

Ctrl-C stops it cleanly. A second start on the same data directory continues.

` + exit.Help(),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.load()
			if err != nil {
				return err
			}
			return up(cmd.Context(), c, f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.define(cmd.Flags())
	return cmd
}

// up holds the data directory, brings an instance up on it, and serves until ctx ends.
func up(ctx context.Context, c *upConfig, f *upFlags, stdout, stderr io.Writer) (err error) {
	log, err := service.NewLogger(stderr, "popvote", c.Log)
	if err != nil {
		return exit.With(exit.Usage, err)
	}
	drafts := make([]*poll.Definition, len(f.polls))
	for i, path := range f.polls {
		if drafts[i], err = readPollFile(path, nil); err != nil {
			return err
		}
	}
	service.Tune()
	moreProcessors()
	dir, err := datadir.Open(c.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()

	listeners, err := listen(ctx, c)
	if err != nil {
		return err
	}
	defer listeners.close()

	metrics := service.NewMetrics("popvote")
	box, err := openBox(ctx, dir, boxDeps{log.With(slog.String("part", "ballot-server")), metrics})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, box.Close()) }()
	// Polls first: the API reads them as it starts.
	for _, d := range drafts {
		if err := applyDraft(ctx, box, d, log); err != nil {
			return explain(err)
		}
	}
	if f.seedDemo {
		if err := seedDemo(ctx, box, dir.Path, time.Now()); err != nil {
			return err
		}
	}
	n, err := newNode(ctx, c, box, listeners, metrics, log)
	if err != nil {
		return err
	}
	defer n.close()

	return service.Serve(ctx, service.Options{
		Log:    quietLog(), // the summary says what listens where
		Health: n.health,
		Started: func([]net.Addr) {
			if err := n.summary(ctx, stdout, f.output); err != nil {
				log.ErrorContext(ctx, "couldn't print the summary", slog.Any("error", err))
			}
		},
	}, n.services()...)
}

// applyDraft applies a poll file given at the start. A poll that was opened since stays as it is.
func applyDraft(ctx context.Context, a ballotapi.Admin, d *poll.Definition, log *slog.Logger) error {
	state, err := stateOf(ctx, a, d.ID)
	if err != nil {
		return err
	}
	if state != "" && state != poll.Draft {
		log.InfoContext(ctx, "left a poll as it is: it is no draft any more", slog.String("poll", d.ID), slog.String("state", string(state)))
		return nil
	}
	return a.Apply(ctx, *d, ballotapi.Change{Actor: "popvote up", Reason: "given at the start"})
}

// stateOf returns a poll's state, or nothing if there is no such poll.
func stateOf(ctx context.Context, a ballotapi.Admin, id string) (poll.State, error) {
	polls, err := a.AllPolls(ctx)
	if err != nil {
		return "", fmt.Errorf("couldn't list the polls: %w", err)
	}
	for _, p := range polls {
		if p.ID == id {
			return p.State, nil
		}
	}
	return "", nil
}

// moreProcessors has Go use twice the processors, unless GOMAXPROCS says how many: a goroutine back from
// a system call that took long, as SQLite's commits do some hundred times a second, queues behind all that
// can run, while a thread that slept is the next that the kernel runs. More than twice, and garbage
// collection crowds out the votes. (The programs apart gain nothing by it: PostgreSQL does the waiting.)
func moreProcessors() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2 * runtime.GOMAXPROCS(0))
	}
}

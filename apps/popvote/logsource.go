package main

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/libs/ballotlog"
)

// logSource is the log that a command reads: the flags of witness and of log mirror.
type logSource struct {
	api, mirror, poll, signingKey string
}

func (s *logSource) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.api, "log", "", "the origin of the public API, such as https://vote.example.hk")
	f.StringVar(&s.mirror, "mirror", "", "instead of --log: the `address` of a directory that popvote log mirror wrote")
	f.StringVar(&s.poll, "poll", "", "the poll's id")
	f.StringVar(&s.signingKey, "signing-key", "", "the `thumbprint` of the key that signs the manifest, as the organiser announced it; the default is the one met first")
}

var pollID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

func (s *logSource) open() (*ballotlog.Site, error) {
	if (s.api == "") == (s.mirror == "") {
		return nil, exit.Errorf(exit.Usage, "say where the log is: either --log or --mirror")
	}
	if !pollID.MatchString(s.poll) {
		return nil, exit.Errorf(exit.Usage, "--poll: %q is not the id of a poll", s.poll)
	}
	client := &http.Client{Timeout: 30 * time.Second}
	site, err := ballotlog.API(s.api, s.poll, client)
	if s.mirror != "" {
		site, err = ballotlog.Static(s.mirror, client)
	}
	if err != nil {
		return nil, exit.With(exit.Usage, err)
	}
	return site, nil
}

// required makes sure that a flag was given.
func required(name, value string) error {
	if value == "" {
		return exit.Errorf(exit.Usage, "--%s is missing", name)
	}
	return nil
}

// explainLog gives a log's faults their exit codes.
func explainLog(err error) error {
	for _, fault := range []error{ballotlog.ErrFork, ballotlog.ErrShrunk, ballotlog.ErrTampered} {
		if errors.Is(err, fault) {
			return exit.With(exit.Forked, err)
		}
	}
	if errors.Is(err, ballotlog.ErrNoLog) {
		return exit.With(exit.NotFound, err)
	}
	return err
}

// stopped reports whether the user ended it: no error then, what was to do is never done.
func stopped(ctx context.Context) bool { return ctx.Err() != nil }

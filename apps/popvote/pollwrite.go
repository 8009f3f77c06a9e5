package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/apps/popvote/internal/progress"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/trustee"
)

func newPollApplyCommand(f *pollFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "apply FILE",
		Short: "Create a draft from a poll file, or replace a draft (- reads standard input)",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := readPollFile(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			return f.with(cmd.Context(), func(a ballotapi.Admin) error {
				if err := a.Apply(cmd.Context(), *d, f.change("popvote poll apply")); err != nil {
					return err
				}
				return f.done(cmd, a, d.ID, "is a draft; popvote poll open "+d.ID+" opens it")
			})
		},
	}
}

// readPollFile reads and checks a poll file; what is wrong is named by line and column.
func readPollFile(path string, stdin io.Reader) (*poll.Definition, error) {
	read := func() ([]byte, error) { return os.ReadFile(path) }
	if path == "-" {
		path, read = "standard input", func() ([]byte, error) { return io.ReadAll(stdin) }
	}
	content, err := read()
	if err != nil {
		return nil, exit.Errorf(exit.BadInput, "couldn't read the poll file: %w", err)
	}
	d, err := poll.Parse(path, content)
	if err != nil {
		return nil, exit.Errorf(exit.BadInput, "the poll file is broken:\n%w", err)
	}
	return d, nil
}

func newPollExtendCommand(f *pollFlags) *cobra.Command {
	var until string
	var by time.Duration
	cmd := &cobra.Command{
		Use:   "extend POLL",
		Short: "Move the closing time later",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.reason == "" {
				return exit.Errorf(exit.Usage, "say why with --reason: voters will ask")
			}
			if (until == "") == (by == 0) {
				return exit.Errorf(exit.Usage, "say either --until or --by")
			}
			return f.with(cmd.Context(), func(a ballotapi.Admin) error {
				closes, err := newClose(cmd, a, args[0], until, by)
				if err != nil {
					return err
				}
				if err := a.Extend(cmd.Context(), args[0], closes, f.change("")); err != nil {
					return err
				}
				return f.done(cmd, a, args[0], "now closes at "+moment(closes))
			})
		},
	}
	cmd.Flags().StringVar(&until, "until", "", "the new closing time (RFC 3339, as in 2014-06-29T22:00:00+08:00)")
	cmd.Flags().DurationVar(&by, "by", 0, "how much later than now planned (as in 2h)")
	return cmd
}

func newClose(cmd *cobra.Command, a ballotapi.Admin, id, until string, by time.Duration) (time.Time, error) {
	if until != "" {
		t, err := time.Parse(time.RFC3339, until)
		if err != nil {
			return t, exit.Errorf(exit.Usage, "--until is %q: want a time such as 2014-06-29T22:00:00+08:00", until)
		}
		return t, nil
	}
	view, err := look(cmd, a, id)
	if err != nil {
		return time.Time{}, err
	}
	return view.Manifest.ClosesAt.Add(by), nil
}

func newPollCountCommand(f *pollFlags) *cobra.Command {
	var shares []string
	var keyFile string
	cmd := &cobra.Command{
		Use:   "count POLL (--share FILE)... | --key FILE",
		Short: "Open and count a closed poll's ballots with the trustees' key",
		Long: `Open and count a closed poll's ballots.

Give the shares of as many trustees as the key needs, or the combined key (as "popvote trustee
combine" writes it). The key is used in memory and never stored.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			key, err := readTallyKey(shares, keyFile)
			if err != nil {
				return err
			}
			defer clear(key)
			return f.with(cmd.Context(), func(a ballotapi.Admin) error {
				if err := count(cmd, a, args[0], key, f.change("popvote poll count")); err != nil {
					return err
				}
				view, err := look(cmd, a, args[0])
				if err != nil {
					return err
				}
				if f.output.json() {
					return writeJSON(cmd.OutOrStdout(), view.Result)
				}
				return view.write(cmd.OutOrStdout())
			})
		},
	}
	cmd.Flags().StringArrayVar(&shares, "share", nil, "a trustee's share (repeat)")
	cmd.Flags().StringVar(&keyFile, "key", "", "the combined tally key")
	cmd.MarkFlagsMutuallyExclusive("share", "key")
	return cmd
}

// readTallyKey returns the private scalar from shares or from a key file.
func readTallyKey(shares []string, keyFile string) ([]byte, error) {
	if keyFile != "" {
		file, err := os.Open(keyFile)
		if err != nil {
			return nil, exit.Errorf(exit.BadInput, "couldn't open the key: %w", err)
		}
		defer func() { _ = file.Close() }() // only read
		key, _, err := trustee.ReadKey(file)
		return key, exit.With(exit.BadInput, err)
	}
	if len(shares) == 0 {
		return nil, exit.Errorf(exit.Usage, "give the trustees' shares with --share, or the combined key with --key")
	}
	var read []trustee.Share
	for _, path := range shares {
		s, err := readShare(path)
		if err != nil {
			return nil, exit.Errorf(exit.BadInput, "%s: %w", path, err)
		}
		read = append(read, s)
	}
	key, err := trustee.Combine(read)
	return key, exit.With(exit.BadInput, err)
}

func readShare(path string) (trustee.Share, error) {
	file, err := os.Open(path)
	if err != nil {
		return trustee.Share{}, err
	}
	defer func() { _ = file.Close() }() // only read
	return trustee.ReadShare(file)
}

// count runs a count and shows how far it is.
func count(cmd *cobra.Command, a ballotapi.Admin, id string, key []byte, c ballotapi.Change) error {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- a.Count(ctx, id, key, c) }()

	bar := progress.New(cmd.ErrOrStderr(), "counting")
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-failed:
			return errors.Join(err, bar.Close())
		case <-tick.C:
			stats, err := a.Stats(ctx, id)
			if err == nil && stats.Count != nil {
				bar.At(stats.Count.Done, stats.Count.Total)
			}
		}
	}
}

// printPolls is for the start of an instance: one line a poll.
func printPolls(w io.Writer, polls []poll.Summary) {
	for _, p := range polls {
		_, _ = fmt.Fprintf(w, "  %-14s %s, %s until %s\n", p.ID, words(p.Title), p.State, moment(p.ClosesAt))
	}
}

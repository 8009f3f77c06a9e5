package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/popvote/popvote/apps/popvote/internal/datadir"
	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/apps/popvote/internal/local"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
)

// pollFlags are the flags every poll command has.
type pollFlags struct {
	data   string
	output output
	reason string
	yes    bool
}

func newPollCommand() *cobra.Command {
	f := &pollFlags{}
	cmd := &cobra.Command{
		Use:   "poll",
		Short: "Create, open, pause, extend, close, count and publish polls",
		Long: `Administer the polls of a data directory.

While "popvote up" runs on the directory, the commands go through its socket; otherwise they open
the directory themselves. Every change is kept in the poll's audit chain with your name and reason.

` + exit.Help(),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&f.data, "data", "data", "the data directory")
	f.output.flag(flags)
	flags.StringVar(&f.reason, "reason", "", "why, for the audit chain")
	flags.BoolVarP(&f.yes, "yes", "y", false, "do not ask before what cannot be undone")

	cmd.AddCommand(
		newPollListCommand(f), newPollShowCommand(f), newPollAuditCommand(f),
		newPollApplyCommand(f),
		f.moveCommand(move{use: "open", to: poll.Open, short: "Open a draft, or go on after a pause", done: "is open"}),
		f.moveCommand(move{use: "pause", to: poll.Paused, short: "Stop taking ballots for a while", done: "is paused", needsReason: true}),
		f.moveCommand(move{use: "close", to: poll.Closed, short: "Close a poll for good", done: "is closed", final: "No ballot will be taken any more."}),
		newPollExtendCommand(f), newPollCountCommand(f),
		f.moveCommand(move{use: "publish", to: poll.Published, short: "Publish a counted result", done: "is published", final: "The result and every sealed ballot become public."}),
		newPollBundleCommand(f), newPollResultsCommand(f), newPollDestroyKeyCommand(f), newPollKeyProofCommand(f),
	)
	return cmd
}

// with calls do with the polls' administration: the running instance's, or the directory's own.
func (f *pollFlags) with(ctx context.Context, do func(ballotapi.Admin) error) error {
	if err := f.output.check(); err != nil {
		return err
	}
	running, err := local.Dial(ctx, f.data)
	if err == nil {
		defer running.Close()
		return explain(do(running))
	}
	dir, err := datadir.OpenExisting(f.data)
	if err != nil {
		return err
	}
	box, err := openBox(ctx, dir, boxDeps{log: quietLog()})
	if err != nil {
		return errors.Join(err, dir.Close())
	}
	return errors.Join(explain(do(box)), box.Close(), dir.Close())
}

// explain gives the administration's errors their exit codes and an operator's words.
func explain(err error) error {
	if refused, ok := errors.AsType[*ballotapi.Refused](err); ok {
		return exit.With(exit.Refused, refused)
	}
	p, ok := errors.AsType[*problem.Error](err)
	switch {
	case !ok:
		return err
	case p.Code == problem.PollNotFound:
		return exit.Errorf(exit.NotFound, "there is no such poll (see popvote poll list)")
	case p.Code == problem.Internal:
		return err
	default:
		row := p.Row()
		if p.Detail != "" {
			return exit.Errorf(exit.Refused, "%s: %s", row.Title, p.Detail)
		}
		return exit.Errorf(exit.Refused, "%s", row.Title)
	}
}

// change is who asks, and why.
func (f *pollFlags) change(reason string) ballotapi.Change {
	if f.reason != "" {
		reason = f.reason
	}
	actor := "command line"
	if u, err := user.Current(); err == nil {
		actor += " (" + u.Username + ")"
	}
	return ballotapi.Change{Actor: actor, Reason: reason}
}

// confirm asks on a terminal; elsewhere only --yes confirms.
func (f *pollFlags) confirm(cmd *cobra.Command, question string) error {
	if f.yes {
		return nil
	}
	if !isTerminal(os.Stdin) {
		return exit.Errorf(exit.Refused, "%s Say --yes to go on", question)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s Go on? [y/N] ", question)
	var answer string
	_, _ = fmt.Fscanln(cmd.InOrStdin(), &answer)
	if answer != "y" && answer != "Y" && answer != "yes" {
		return exit.Errorf(exit.Refused, "nothing was changed")
	}
	return nil
}

// move is one step along a poll's life as a command.
type move struct {
	use, short, done string
	to               poll.State
	needsReason      bool
	// final is what cannot be undone about it; empty if it can.
	final string
}

func (f *pollFlags) moveCommand(m move) *cobra.Command {
	return &cobra.Command{
		Use:   m.use + " POLL",
		Short: m.short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if m.needsReason && f.reason == "" {
				return exit.Errorf(exit.Usage, "say why with --reason: voters will ask")
			}
			if m.final != "" {
				if err := f.confirm(cmd, "Poll "+args[0]+": "+m.final); err != nil {
					return err
				}
			}
			return f.with(cmd.Context(), func(a ballotapi.Admin) error {
				if err := a.Move(cmd.Context(), args[0], m.to, f.change("popvote poll "+m.use)); err != nil {
					return err
				}
				return f.done(cmd, a, args[0], m.done)
			})
		},
	}
}

// done reports a change: one sentence, or the poll's new picture as JSON.
func (f *pollFlags) done(cmd *cobra.Command, a ballotapi.Admin, id, what string) error {
	if f.output.json() {
		stats, err := a.Stats(cmd.Context(), id)
		if err != nil {
			return err
		}
		return writeJSON(cmd.OutOrStdout(), map[string]any{"poll": id, "state": stats.State})
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "Poll %s %s.\n", id, what)
	return err
}

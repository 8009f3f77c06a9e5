package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/signed"
	"github.com/popvote/popvote/libs/tally"
)

func newPollListCommand(f *pollFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List every poll, drafts included",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.Context(), func(a ballotapi.Admin) error {
				polls, err := a.AllPolls(cmd.Context())
				if err != nil {
					return err
				}
				if f.output.json() {
					return writeJSON(cmd.OutOrStdout(), map[string]any{"polls": slices.Grow(polls, 0)})
				}
				t := newTable(cmd.OutOrStdout(), "POLL", "STATE", "KIND", "OPENS", "CLOSES", "TITLE")
				for _, p := range polls {
					t.row(p.ID, p.State, p.Kind, moment(p.OpensAt), moment(p.ClosesAt), words(p.Title))
				}
				return t.flush()
			})
		},
	}
}

// pollView is what `poll show` shows.
type pollView struct {
	Manifest *poll.Manifest   `json:"manifest"`
	Stats    *ballotapi.Stats `json:"stats"`
	Result   *tally.Result    `json:"result,omitempty"`
	// KeyDestroyed is the certificate that the identity key was destroyed.
	KeyDestroyed *signed.Document `json:"key_destroyed,omitempty"`
	destroyedAt  string
}

func newPollShowCommand(f *pollFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "show POLL",
		Short: "Show a poll: its rules, its turnout, its result once counted",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), func(a ballotapi.Admin) error {
				view, err := look(cmd, a, args[0])
				if err != nil {
					return err
				}
				chain, err := a.Audit(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if view.destroyedAt, view.KeyDestroyed, err = destroyed(chain, args[0], view.Manifest.SigningKey); err != nil {
					return err
				}
				if f.output.json() {
					return writeJSON(cmd.OutOrStdout(), view)
				}
				return view.write(cmd.OutOrStdout())
			})
		},
	}
}

func look(cmd *cobra.Command, a ballotapi.Admin, id string) (*pollView, error) {
	view := &pollView{Manifest: &poll.Manifest{}}
	doc, err := a.Manifest(cmd.Context(), id)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(doc.Plain, view.Manifest); err != nil {
		return nil, fmt.Errorf("couldn't read the manifest: %w", err)
	}
	stats, err := a.Stats(cmd.Context(), id)
	if err != nil {
		return nil, err
	}
	view.Stats = &stats
	if stats.State == poll.Counted || stats.State == poll.Published {
		doc, err := a.CountedResult(cmd.Context(), id)
		if err != nil {
			return nil, err
		}
		view.Result = &tally.Result{}
		if err := json.Unmarshal(doc.Plain, view.Result); err != nil {
			return nil, fmt.Errorf("couldn't read the result: %w", err)
		}
	}
	return view, nil
}

func (v *pollView) write(w io.Writer) error {
	m := v.Manifest
	t := newTable(w)
	t.row("Poll", m.ID+", "+string(m.Kind))
	t.row("Title", words(m.Title))
	t.row("State", v.Stats.State)
	t.row("Opens", moment(m.OpensAt))
	t.row("Closes", moment(m.ClosesAt))
	t.row("Phones", m.Verification.Mode)
	t.row("Tally key", m.Ballot.TallyKey.Kid)
	if v.destroyedAt != "" {
		t.row("Identity key", "destroyed "+v.destroyedAt+" (popvote poll key-proof "+m.ID+")")
	}
	t.row("Ballots", v.Stats.Total)
	t.row("Peak second", v.Stats.PeakSecond)
	if v.Result != nil && v.Result.Invalid > 0 {
		t.row("Invalid", v.Result.Invalid)
	}
	if err := t.flush(); err != nil || v.Result == nil {
		return err
	}
	return writeResult(w, m, v.Result)
}

func writeResult(w io.Writer, m *poll.Manifest, r *tally.Result) error {
	for i, q := range r.Questions {
		fmt.Fprintf(w, "\n%s\n", words(m.Questions[i].Title))
		t := newTable(w)
		for j, o := range q.Options {
			t.row("  "+words(m.Questions[i].Options[j].Label), o.Votes)
		}
		if q.Unanswered > 0 {
			t.row("  (unanswered)", q.Unanswered)
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	return nil
}

func newPollAuditCommand(f *pollFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "audit POLL",
		Short: "Show who changed a poll, when and why",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), func(a ballotapi.Admin) error {
				entries, err := a.Audit(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if f.output.json() {
					return writeJSON(cmd.OutOrStdout(), map[string]any{"audit": entries})
				}
				t := newTable(cmd.OutOrStdout(), "#", "WHEN", "WHO", "WHAT", "WHY", "HASH")
				for _, e := range entries {
					t.row(e.Seq, moment(e.At), e.Actor, e.Action, e.Reason, hex.EncodeToString(e.Hash[:min(6, len(e.Hash))]))
				}
				return t.flush()
			})
		},
	}
}

func newPollBundleCommand(f *pollFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "bundle POLL FILE",
		Short: "Write a published poll's public bundle, for popvote verify",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.with(cmd.Context(), func(a ballotapi.Admin) error {
				// Whole or not at all: the bundle gets its name when it is complete.
				part, err := os.CreateTemp(filepath.Dir(args[1]), ".bundle-*")
				if err != nil {
					return exit.Errorf(exit.BadInput, "couldn't create the bundle: %w", err)
				}
				err = errors.Join(a.Bundle(cmd.Context(), args[0], part), part.Sync(), part.Close())
				if err == nil {
					err = os.Rename(part.Name(), args[1])
				}
				if err != nil {
					return errors.Join(err, os.Remove(part.Name()))
				}
				return f.done(cmd, a, args[0], "is in "+args[1])
			})
		},
	}
}

// moment prints a time for people: to the second, in their zone.
func moment(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

// words picks a text's language for the command line: English if there is one.
func words(t poll.Text) string {
	if s := t["en"]; s != "" {
		return s
	}
	for _, lang := range poll.Languages {
		if s := t[lang]; s != "" {
			return s
		}
	}
	return ""
}

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/popvote/popvote/apps/popvote/internal/drill"
	"github.com/popvote/popvote/apps/popvote/internal/exit"
)

func newDrillCommand() *cobra.Command {
	f := &clusterFlags{}
	var out output
	var reports string
	var voters int
	cmd := &cobra.Command{
		Use:   "drill [NAME]...",
		Short: "Take a cloud away under load, and measure what that does",
		Long: `Take something away from the cluster on this machine (popvote cluster up) while voters vote, and measure what
that does: votes acknowledged, lost, doubled, the longest time without a vote. Without names, all run, one
after the other. What was taken away is given back, also after Ctrl-C.

` + drillNames() + `
` + exit.Help(),
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := out.check(); err != nil {
				return err
			}
			drills, err := chosen(args)
			if err != nil {
				return err
			}
			if voters < 1 {
				return exit.Errorf(exit.Usage, "--voters must be at least 1")
			}
			progress := cmd.ErrOrStderr()
			c, err := f.cluster(io.Discard)
			if err != nil {
				return err
			}
			dir := filepath.Join(reports, time.Now().UTC().Format("2006-01-02T150405"))
			if err := os.MkdirAll(dir, 0o750); err != nil {
				return fmt.Errorf("couldn't make a directory for the report: %w", err)
			}
			var all []*drill.Report
			for _, d := range drills {
				r, err := drill.Run(cmd.Context(), &drill.Lab{Cluster: c}, d, drill.Options{
					Voters: voters, Dir: dir, Say: func(line string) { _, _ = fmt.Fprintln(progress, line) },
				})
				if err != nil {
					return fmt.Errorf("couldn't run %s: %w", d.Name, err)
				}
				all = append(all, r)
				// After each: what was measured is kept, whatever becomes of the next.
				if err := errors.Join(writeDrillFile(dir, "report.json", func(w io.Writer) error { return writeJSON(w, all) }),
					writeDrillFile(dir, "report.html", func(w io.Writer) error { return drill.WritePage(w, all) })); err != nil {
					return err
				}
			}
			if out.json() {
				err = writeJSON(cmd.OutOrStdout(), all)
			} else {
				err = writeDrills(cmd.OutOrStdout(), all)
			}
			_, _ = fmt.Fprintf(progress, "%s\n", filepath.Join(dir, "report.html"))
			if err == nil && slices.ContainsFunc(all, func(r *drill.Report) bool { return !r.OK() }) {
				err = exit.Errorf(exit.Unproven, "not every hypothesis held")
			}
			return err
		},
	}
	f.define(cmd)
	out.flag(cmd.Flags())
	cmd.Flags().StringVar(&reports, "reports", "data/drills", "where the report goes, into a directory named by the time")
	cmd.Flags().IntVar(&voters, "voters", 8, "voters at it at once, each of whom casts once a second at most")
	return cmd
}

func drillNames() (help string) {
	for _, d := range drill.Drills {
		help += fmt.Sprintf("  %-18s %s\n", d.Name, d.Hypothesis)
	}
	return help
}

// chosen are the drills of these names, or all.
func chosen(names []string) ([]drill.Drill, error) {
	if len(names) == 0 {
		return drill.Drills, nil
	}
	var some []drill.Drill
	for _, name := range names {
		i := slices.IndexFunc(drill.Drills, func(d drill.Drill) bool { return d.Name == name })
		if i < 0 {
			return nil, exit.Errorf(exit.Usage, "there is no drill %q; they are\n%s", name, drillNames())
		}
		some = append(some, drill.Drills[i])
	}
	return some, nil
}

func writeDrillFile(dir, name string, write func(io.Writer) error) error {
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return fmt.Errorf("couldn't write the report: %w", err)
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return fmt.Errorf("couldn't write the report: %w", err)
	}
	return nil
}

func writeDrills(w io.Writer, all []*drill.Report) error {
	t := newTable(w, "DRILL", "ACKNOWLEDGED", "LOST", "DOUBLED", "UNKNOWN", "LONGEST GAP S", "REPLACED S", "P99 MS BEFORE", "DURING", "AFTER", "HELD")
	for _, r := range all {
		held := "yes"
		if !r.OK() {
			held = "NO"
		}
		replaced := "-"
		if r.Replaced > 0 {
			replaced = fmt.Sprintf("%.0f", r.Replaced)
		}
		t.row(r.Name, r.Acknowledged, r.Lost, r.Doubled, r.Unknown, fmt.Sprintf("%.1f", r.Gap), replaced,
			fmt.Sprintf("%.0f", r.P99Before), fmt.Sprintf("%.0f", r.P99During), fmt.Sprintf("%.0f", r.P99After), held)
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, r := range all {
		for _, wrong := range r.Wrong {
			fmt.Fprintf(w, "%s: %s\n", r.Name, wrong)
		}
	}
	return nil
}

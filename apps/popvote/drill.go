package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/popvote/popvote/apps/popvote/internal/drill"
	"github.com/popvote/popvote/apps/popvote/internal/exit"
)

func newDrillCommand() *cobra.Command {
	f := &clusterFlags{}
	o := drillOptions{}
	var plan string
	cmd := &cobra.Command{
		Use:   "drill [NAME]...",
		Short: "Take a cloud away under load, and measure what that does",
		Long: `Take something away from the cluster on this machine (popvote cluster up) while voters vote, and measure what
that does: votes acknowledged, lost, doubled, the longest time without a vote. Without names, all run, one after
the other. What was taken away is given back, also after Ctrl-C.

` + drillNames(drill.Drills) + `
With --plan, the same for a cluster on other machines: a file names its edges and the commands that take something
away and give it back (docs/drills.md). That asks twice, and has to be asked at a terminal.

` + exit.Help(),
		Example: `  popvote drill kill-leaders
  popvote drill --plan staging.yaml`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if plan != "" {
				return o.planned(cmd, plan, args)
			}
			drills, err := chosen(args, drill.Drills)
			if err != nil {
				return err
			}
			c, err := f.cluster(io.Discard)
			if err != nil {
				return err
			}
			return o.run(cmd, &drill.Lab{Cluster: c}, drills)
		},
	}
	f.define(cmd)
	o.define(cmd)
	cmd.Flags().StringVar(&plan, "plan", "", "a cluster on other machines, and how it is taken apart: a YAML file")
	return cmd
}

// drillOptions are how drills are run and reported.
type drillOptions struct {
	output
	reports string
	voters  int
}

func (o *drillOptions) define(cmd *cobra.Command) {
	o.flag(cmd.Flags())
	cmd.Flags().StringVar(&o.reports, "reports", "data/drills", "where the report goes, into a directory named by the time")
	cmd.Flags().IntVar(&o.voters, "voters", 8, "voters at it at once, each of whom casts once a second at most")
}

func (o *drillOptions) check() error {
	if o.voters < 1 {
		return exit.Errorf(exit.Usage, "--voters must be at least 1")
	}
	return o.output.check()
}

// planned runs drills of a plan, once that is confirmed.
func (o *drillOptions) planned(cmd *cobra.Command, path string, names []string) error {
	p, err := drill.ReadPlan(path)
	if err != nil {
		return exit.With(exit.BadInput, err)
	}
	drills, err := chosen(names, p.List())
	if err != nil {
		return err
	}
	if err := confirmPlan(cmd.InOrStdin(), cmd.ErrOrStderr(), isTerminal(os.Stdin), p.Name, drills); err != nil {
		return err
	}
	return o.run(cmd, &drill.Field{Plan: p}, drills)
}

// confirmPlan asks twice, of somebody who is there: first which cluster, then whether to begin.
func confirmPlan(in io.Reader, out io.Writer, terminal bool, name string, drills []drill.Drill) error {
	if !terminal {
		return exit.Errorf(exit.Refused, "nothing was done: drills of a plan are confirmed at a terminal")
	}
	_, _ = fmt.Fprintf(out, "These take something away from %s while voters vote:\n%s", name, drillNames(drills))
	lines := bufio.NewReader(in)
	for _, ask := range []struct{ question, answer string }{
		{"Type the plan's name to go on: ", name},
		{"Nobody else votes there now, and somebody can give it back by hand if this machine fails. Type yes to begin: ", "yes"},
	} {
		_, _ = fmt.Fprint(out, ask.question)
		said, err := lines.ReadString('\n')
		if strings.TrimSpace(said) != ask.answer {
			return errors.Join(exit.Errorf(exit.Refused, "nothing was done: it was not confirmed"), err)
		}
	}
	return nil
}

// run runs drills one after the other, and reports.
func (o *drillOptions) run(cmd *cobra.Command, scene drill.Scene, drills []drill.Drill) error {
	progress := cmd.ErrOrStderr()
	dir := filepath.Join(o.reports, time.Now().UTC().Format("2006-01-02T150405"))
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("couldn't make a directory for the report: %w", err)
	}
	var all []*drill.Report
	for _, d := range drills {
		r, err := drill.Run(cmd.Context(), scene, d, drill.Options{
			Voters: o.voters, Dir: dir, Say: func(line string) { _, _ = fmt.Fprintln(progress, line) },
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
	var err error
	if o.json() {
		err = writeJSON(cmd.OutOrStdout(), all)
	} else {
		err = writeDrills(cmd.OutOrStdout(), all)
	}
	_, _ = fmt.Fprintf(progress, "%s\n", filepath.Join(dir, "report.html"))
	if err == nil && slices.ContainsFunc(all, func(r *drill.Report) bool { return !r.OK() }) {
		err = exit.Errorf(exit.Unproven, "not every hypothesis held")
	}
	return err
}

func drillNames(drills []drill.Drill) (help string) {
	for _, d := range drills {
		help += fmt.Sprintf("  %-18s %s\n", d.Name, d.Hypothesis)
	}
	return help
}

// chosen are the drills of these names, or all.
func chosen(names []string, all []drill.Drill) ([]drill.Drill, error) {
	if len(names) == 0 {
		return all, nil
	}
	var some []drill.Drill
	for _, name := range names {
		i := slices.IndexFunc(all, func(d drill.Drill) bool { return d.Name == name })
		if i < 0 {
			return nil, exit.Errorf(exit.Usage, "there is no drill %q; they are\n%s", name, drillNames(all))
		}
		some = append(some, all[i])
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
	t := newTable(w, "DRILL", "HELD", "ACKNOWLEDGED", "LOST", "DOUBLED", "UNKNOWN", "LONGEST GAP S", "LEFT OUT S", "REPLACED S", "SPREAD S", "P99 MS BEFORE", "DURING", "AFTER")
	seconds := func(s float64) string {
		if s == 0 {
			return "-"
		}
		return fmt.Sprintf("%.1f", s)
	}
	for _, r := range all {
		held := "yes"
		if !r.OK() {
			held = "NO"
		}
		t.row(r.Name, held, r.Acknowledged, r.Lost, r.Doubled, r.Unknown, fmt.Sprintf("%.1f", r.Gap),
			seconds(r.Ejected), seconds(r.Replaced), seconds(r.SettledAfter),
			fmt.Sprintf("%.0f", r.P99Before), fmt.Sprintf("%.0f", r.P99During), fmt.Sprintf("%.0f", r.P99After))
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

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/popvote/popvote/apps/popvote/internal/bench"
	"github.com/popvote/popvote/apps/popvote/internal/exit"
)

func newBenchCommand() *cobra.Command {
	var out output
	var mode string
	var seconds float64
	o := bench.Options{}
	var edge bool
	var e bench.Edge
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure votes per second, latency and processor time on this machine",
		Long: `Start an instance in a process of its own, on a fresh data directory, and drive it: bare casts (tokens
and sealed ballots made beforehand, then POST /v1/ballots only) and whole journeys (proof of work,
identity, SMS, verification event, sealing, cast). Each round also drives a bare Gin echo, so that a
noisy machine shows: trust the ratio to it, and the processor time per vote.

With --programs, casts go through api-server and ballot-server, each by itself, over mutual TLS to
PostgreSQL (Debian's, started for it). The rounds then also hold PostgreSQL's own benchmark with one
durable row a transaction, the same path with one GORM Create per ballot, and casts while each commit
takes 5 ms longer.

With --edge the rounds also hold the same programs as they run in a cluster: found through Consul, with
keys, certificates and passwords from Vault, and voters coming over TLS through HAProxy.

With --held N, instead of all that, N voters wait for their phone at one API server, if so many files may be
open: what memory each takes, and how soon they are told while 200 SMS a second come in.

A closed loop measures the rate; an open loop at half of it measures latency, from when each vote was
due; another offers three times the rate, to see how much gets through. In the end the box must hold exactly what was acknowledged.

` + exit.Help(),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if o.Programs != "" && mode == "all" {
				mode = "casts"
			}
			o.Casts, o.Journeys = mode != "journeys", mode != "casts"
			o.Phase = time.Duration(seconds * float64(time.Second))
			if edge {
				o.Edge = &e
			}
			if err := checkBench(mode, &o); err != nil {
				return err
			}
			report, err := bench.Run(cmd.Context(), o, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			switch {
			case out.json():
				err = writeJSON(cmd.OutOrStdout(), report)
			case report.Held != nil:
				err = writeHeld(cmd.OutOrStdout(), report)
			default:
				err = writeBench(cmd.OutOrStdout(), report)
			}
			if err == nil && report.Held != nil && !report.OK() {
				err = exit.Errorf(exit.Unproven, "%d were not told, %d lost their connection", report.Held.Untold, report.Held.Lost)
			}
			if err == nil && !report.OK() {
				err = exit.Errorf(exit.Unproven, "%d failed; %s", report.Failed, boxes(report))
			}
			return err
		},
	}
	flags := cmd.Flags()
	out.flag(flags)
	flags.StringVar(&mode, "mode", "all", "what to measure: casts, journeys or all")
	flags.IntVar(&o.Clients, "clients", 256, "voters at it at once")
	flags.Float64Var(&seconds, "seconds", 5, "how long each measurement lasts")
	flags.IntVar(&o.Rounds, "rounds", 5, "how often each measurement is taken")
	flags.StringVar(&o.Dir, "dir", "", "where to make the data directory; put it on the disk to measure (default: the system's temporary directory)")
	flags.StringVar(&o.Profile, "profile", "", "a directory for CPU profiles of the instance")
	flags.StringVar(&o.Programs, "programs", "", "measure api-server and ballot-server from this `directory`, each by itself, on PostgreSQL (casts only)")
	flags.IntVar(&o.Held, "held", 0, "with --programs: measure only so many voters who wait for their phone (with sms-gateway and redis-server)")
	flags.BoolVar(&edge, "edge", false, "with --programs: measure them as in a cluster, too (Linux, with HAProxy and make cluster-tools)")
	flags.StringVar(&e.Tools, "tools", "bin/tools", "where consul and vault are, for --edge")
	flags.StringVar(&e.Jobs, "jobs", "jobs", "the job files, for --edge")
	flags.StringVar(&e.Policies, "policies", "vault-policies", "Vault's policies and settings, for --edge")
	flags.StringVar(&o.Target.API, "target", "", "measure a running instance instead (host:port of its API; journeys only)")
	flags.StringVar(&o.Target.Phone, "target-phone", "127.0.0.1:8082", "the target's simulated phone (host:port)")
	flags.StringVar(&o.Target.Poll, "target-poll", "hk-2014-06", "the target's poll, a demo or a rehearsal")
	return cmd
}

func checkBench(mode string, o *bench.Options) error {
	switch {
	case mode != "casts" && mode != "journeys" && mode != "all":
		return exit.Errorf(exit.Usage, "--mode is %q: want casts, journeys or all", mode)
	case o.Target.API != "" && o.Casts:
		return exit.Errorf(exit.Usage, "only --mode journeys can measure a target: bare casts need its keys")
	case o.Programs != "" && (o.Journeys || o.Target.API != ""):
		return exit.Errorf(exit.Usage, "--programs goes with --mode casts, and without --target")
	case o.Edge != nil && o.Programs == "":
		return exit.Errorf(exit.Usage, "--edge goes with --programs")
	case o.Held < 0 || o.Held > bench.MostHeld:
		return exit.Errorf(exit.Usage, "--held must be at least 1, and at most %d", bench.MostHeld)
	case o.Held > 0 && (o.Programs == "" || o.Edge != nil):
		return exit.Errorf(exit.Usage, "--held goes with --programs, and without --edge")
	case o.Clients < 1 || o.Rounds < 1 || o.Phase < 100*time.Millisecond:
		return exit.Errorf(exit.Usage, "--clients and --rounds must be at least 1, --seconds at least 0.1")
	}
	return nil
}

func newBenchEchoCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "bench-echo",
		Short:  "Serve the benchmark's yardstick",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE:   func(cmd *cobra.Command, _ []string) error { return bench.Echo(cmd.Context(), cmd.OutOrStdout()) },
	}
}

func newBenchNaiveCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "bench-naive DIRECTORY ADDRESS",
		Short:  "Serve the benchmark's naive ballot server",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return bench.Naive(cmd.Context(), args[0], args[1], cmd.OutOrStdout())
		},
	}
}

// serverCPU is the sum, and what it is made of where that is more than one program.
func serverCPU(p *bench.Phase) string {
	sum := fmt.Sprintf("%.0f", p.ServerCPU())
	if len(p.CPU) < 2 {
		return sum
	}
	var parts []string
	for _, server := range slices.Sorted(maps.Keys(p.CPU)) {
		parts = append(parts, fmt.Sprintf("%s %.0f", server, p.CPU[server]))
	}
	return sum + " (" + strings.Join(parts, ", ") + ")"
}

func writeBench(w io.Writer, r *bench.Report) error {
	fmt.Fprintf(w, "%d cores, %s, load average %s; %d clients, %g s a measurement\n\n",
		r.Machine.Cores, r.Machine.Build, r.Machine.Load, r.Clients, r.Seconds)
	t := newTable(w, "ROUND", "WHAT", "LOOP", "PER SECOND", "P50 MS", "P99 MS", "P99.9 MS", "SERVER µS", "LOAD µS", "TURNED AWAY")
	row := func(round string, p bench.Phase) {
		turned := ""
		if p.TurnedAway > 0 {
			turned = fmt.Sprintf("%d in %.0f ms (p99)", p.TurnedAway, p.RefusedP99)
		}
		t.row(round, p.Mode, p.Loop, fmt.Sprintf("%.0f", p.PerSecond), fmt.Sprintf("%.1f", p.P50), fmt.Sprintf("%.1f", p.P99),
			fmt.Sprintf("%.1f", p.P999), serverCPU(&p), fmt.Sprintf("%.0f", p.LoadCPU), turned)
	}
	for i, round := range r.Rounds {
		for _, p := range round.Phases {
			row(strconv.Itoa(i+1), p)
		}
	}
	for _, m := range r.Medians() {
		row("median", m)
	}
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	t = newTable(w, "RATIO", "MEDIAN", "95 % INTERVAL")
	for _, ratio := range r.Ratios {
		t.row(ratio.Of+" ÷ "+ratio.To, fmt.Sprintf("%.2f", ratio.Median), fmt.Sprintf("%.2f to %.2f", ratio.Low, ratio.High))
	}
	if err := t.flush(); err != nil {
		return err
	}
	for _, round := range r.Rounds {
		for _, p := range round.Phases {
			for _, reason := range slices.Sorted(maps.Keys(p.Failed)) {
				fmt.Fprintf(w, "%s, %s loop: %d × %s\n", p.Mode, p.Loop, p.Failed[reason], reason)
			}
		}
	}
	_, err := fmt.Fprintf(w, "\n%s.\n", boxes(r))
	return err
}

func writeHeld(w io.Writer, r *bench.Report) error {
	h := r.Held
	fmt.Fprintf(w, "%d cores, %s, load average %s\n\n", r.Machine.Cores, r.Machine.Build, r.Machine.Load)
	t := newTable(w, "VOTERS WHO WAIT AT ONE API SERVER", "")
	t.row("wanted", strconv.Itoa(h.Wanted))
	t.row(fmt.Sprintf("held, with at most %d files open", h.FileLimit), strconv.Itoa(h.Count))
	t.row("connected within", fmt.Sprintf("%.1f s", h.OpenedIn))
	t.row("memory of the server, each", fmt.Sprintf("%.1f KiB", h.Resident))
	t.row("of that Go's heap, and stacks", fmt.Sprintf("%.1f and %.1f KiB", h.Heap, h.Stacks))
	t.row("texted, 200 a second", strconv.Itoa(h.Texted))
	t.row("from the network's call to the event, p50, p99, most", fmt.Sprintf("%.1f, %.1f, %.1f ms", h.P50, h.P99, h.Most))
	t.row("not told; connections lost before", fmt.Sprintf("%d; %d", h.Untold, h.Lost))
	return t.flush()
}

// boxes says what was acknowledged, and what the boxes hold.
func boxes(r *bench.Report) string {
	if r.InTheBox < 0 {
		return fmt.Sprintf("%d acknowledged", r.Acknowledged)
	}
	text := fmt.Sprintf("%d acknowledged, %d in the box", r.Acknowledged, r.InTheBox)
	if r.Edge != nil {
		text += fmt.Sprintf("; at the edge %d acknowledged, %d in the box", r.Edge.Acknowledged, r.Edge.InTheBox)
	}
	return text
}

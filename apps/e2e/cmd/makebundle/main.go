// Command makebundle makes the public bundle of a poll that was never held: as many sealed ballots as
// asked for, logged, counted and signed as the ballot server does it. It is for measuring how long
// `popvote verify` takes, and how much memory.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stderr))
}

func run(ctx context.Context, args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("makebundle", flag.ContinueOnError)
	flags.SetOutput(stderr)
	ballots := flags.Int64("ballots", 20_000, "how many ballots")
	reveal := flags.Bool("reveal", true, "put the tally key into the bundle")
	spread := flags.Bool("spread", false, "ask so much that nearly all ballots differ")
	flags.Usage = func() {
		_, _ = fmt.Fprintln(stderr, "usage: makebundle [flags] BUNDLE.zip")
		flags.PrintDefaults()
	}
	if flags.Parse(args) != nil || flags.NArg() != 1 || *ballots < 0 {
		flags.Usage()
		return 2
	}
	e := &election{ballots: *ballots, reveal: *reveal, spread: *spread, say: func(step string) { report(stderr, step) }}
	if err := e.write(ctx, flags.Arg(0)); err != nil {
		_, _ = fmt.Fprintln(stderr, "makebundle:", err)
		return 1
	}
	return 0
}

var began = time.Now()

// report says how far it is, and what it took: wall clock, processor, memory at its most.
func report(w io.Writer, step string) {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return // only a figure less
	}
	cpu := time.Duration(used.Utime.Nano() + used.Stime.Nano())
	_, _ = fmt.Fprintf(w, "%-8s %7.1f s wall %7.1f s CPU (%d processors) %6d MiB at most\n",
		step, time.Since(began).Seconds(), cpu.Seconds(), runtime.NumCPU(), used.Maxrss>>10)
}

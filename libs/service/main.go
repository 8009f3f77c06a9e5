package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes of every program; those of particular commands begin at 10.
const (
	ExitOK          = 0   // it did what it was asked
	ExitFailure     = 1   // it could not
	ExitConfig      = 2   // the command line or the configuration is wrong: nothing was started
	ExitPortTaken   = 3   // another program listens on the address
	ExitInterrupted = 130 // a second signal cut a stop short
)

// RunMain runs a program: the first SIGINT or SIGTERM ends run's context, a second one ends the
// process at once. What run returns is printed to complaints, and decides the exit code.
func RunMain(name string, complaints io.Writer, run func(ctx context.Context) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		<-ctx.Done()
		again := make(chan os.Signal, 1)
		signal.Notify(again, os.Interrupt, syscall.SIGTERM)
		defer signal.Stop(again)
		select {
		case <-again:
			os.Exit(ExitInterrupted)
		case <-ended:
		}
	}()
	err := run(ctx)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprintf(complaints, "%s: %v\n", name, err) // there is nowhere else to say it
	}
	return ExitCode(err)
}

// ExitCode is what a program that ended with the error exits with.
func ExitCode(err error) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return ExitOK
	case errors.Is(err, ErrConfig):
		return ExitConfig
	case errors.Is(err, ErrPortTaken):
		return ExitPortTaken
	default:
		return ExitFailure
	}
}

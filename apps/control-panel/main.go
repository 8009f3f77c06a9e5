// The control panel as a program of its own. It reaches the ballot server over the network, and this
// version has no network between its parts: the program says so and ends. The panel itself
// (apps/control-panel/server, with its page) runs inside `popvote up`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/popvote/popvote/libs/service"
)

const name = "control-panel"

func main() {
	os.Exit(service.RunMain(name, os.Stderr, func(context.Context) error { return run(os.Args[1:], os.Stdout) }))
}

var errNoBallotServer = errors.New("there is no ballot server to connect to, because in this version the parts " +
	"share one process: the panel runs inside `popvote up`, which prints its log-in link")

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	version := flags.Bool("version", false, "Print the version and exit.")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", service.ErrConfig, err)
	}
	if *version {
		_, err := fmt.Fprintln(out, name, service.Version())
		return err
	}
	return fmt.Errorf("%w: %w", service.ErrConfig, errNoBallotServer)
}

// The SMS gateway: it takes what voters text from the phone networks, and sends them codes. The
// providers that connect it to real networks are not part of this version, and a gateway without one
// has nothing to do: this program says so and ends. What it consists of runs inside
// `popvote up`, with a simulated phone network in the providers' place.
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

const name = "sms-gateway"

func main() {
	os.Exit(service.RunMain(name, os.Stderr, func(context.Context) error { return run(os.Args[1:], os.Stdout) }))
}

var errNoProvider = errors.New("no SMS provider is configured, because this version has none: " +
	"it runs inside `popvote up`, on a simulated phone network")

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
	return fmt.Errorf("%w: %w", service.ErrConfig, errNoProvider)
}

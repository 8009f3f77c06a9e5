package service

import (
	"flag"
	"fmt"
	"io"
	"strings"
)

// ReadCommand reads a program's settings into config, a pointer to a struct of the defaults: from its
// command line, from the environment (API_SERVER_LISTEN for api-server's listen), and from the YAML file
// that -config names; see LoadConfig. It reports whether there is something left to do: not after
// -version, which prints to out. Help and what is wrong with a flag go to errs. The error is ErrConfig
// or flag.ErrHelp.
func ReadCommand(name, usage string, args []string, config any, out, errs io.Writer) (goOn bool, err error) {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(errs)
	Flags(flags, config)
	file := flags.String("config", "", "A YAML file with any of these settings.")
	version := flags.Bool("version", false, "Print the version and exit.")
	flags.Usage = func() {
		_, _ = io.WriteString(errs, usage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return false, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if flags.NArg() > 0 {
		return false, fmt.Errorf("%w: %q is no flag", ErrConfig, flags.Arg(0))
	}
	if *version {
		_, err := fmt.Fprintln(out, name, Version())
		return false, err
	}
	prefix := strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "_"
	if err := LoadConfig(config, Sources{File: *file, EnvPrefix: prefix, Flags: flags}); err != nil {
		return false, err
	}
	return true, nil
}

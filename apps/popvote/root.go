package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/libs/service"
)

// run is the whole program. The first interrupt stops it cleanly, a second one at once.
func run(args []string) int {
	code := exit.OK
	service.RunMain("popvote", os.Stderr, func(ctx context.Context) error {
		root := newRootCommand()
		root.SetArgs(args)
		err := root.ExecuteContext(ctx)
		code = exit.Of(err)
		return err
	})
	return int(code)
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "popvote",
		Short: "Hold a public vote: proven phones, sealed ballots, a result anybody can recount",
		Long: `popvote holds public votes on one machine, and is the command line for the rest.

Start with

  popvote up --seed-demo

and open the address it prints.

` + exit.Help(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return exit.Errorf(exit.Usage, "%w (see %s --help)", err, cmd.CommandPath())
	})
	root.AddCommand(
		newUpCommand(),
		newPollCommand(),
		newOperatorCommand(),
		newVerifyCommand(),
		newTrusteeCommand(),
		newProbeCommand(),
		newWitnessCommand(),
		newLogCommand(),
		newBenchCommand(),
		newBenchEchoCommand(),
		newBenchNaiveCommand(),
		newClusterCommand(),
		newDrillCommand(),
		newCertsCommand(),
		newVaultCommand(),
		newVersionCommand(),
	)
	asUsage(root)
	return root
}

// asUsage makes wrong arguments, like wrong flags, exit with the code for wrong usage.
func asUsage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return exit.Errorf(exit.Usage, "%w (see %s --help)", err, cmd.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		asUsage(sub)
	}
}

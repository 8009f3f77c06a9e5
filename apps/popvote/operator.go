package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/popvote/popvote/apps/control-panel/operators"
	panelserver "github.com/popvote/popvote/apps/control-panel/server"
	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/libs/ballotapi"
)

func newOperatorCommand() *cobra.Command {
	f := &pollFlags{}
	cmd := &cobra.Command{
		Use:   "operator",
		Short: "Let operators back into the control panel",
		Long: `Let operators of a data directory back into its control panel.

While nobody has a passkey, "popvote up" prints a link that logs in. Once anybody has one, only
passkeys do, and whoever has the machine can make a recovery link.

` + exit.Help(),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&f.data, "data", "data", "the data directory")
	f.output.flag(flags)
	cmd.AddCommand(newOperatorRecoverCommand(f))
	return cmd
}

func newOperatorRecoverCommand(f *pollFlags) *cobra.Command {
	var origin string
	cmd := &cobra.Command{
		Use:   "recover NAME",
		Short: "Make a link by which an operator registers a passkey",
		Long: `Make a link by which an operator who has no passkey at hand registers one, or somebody of a new
name a first one. It works once, for 15 minutes. That it was made, by whom and why is in the
operators' audit chain. A passkey that was lost is removed in the panel.`,
		Example: `  popvote operator recover "Chan Tai Man" --reason "her phone is at the bottom of the harbour"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.reason == "" {
				return exit.Errorf(exit.Usage, "say why with --reason: it is kept in the operators' audit chain")
			}
			return f.with(cmd.Context(), func(a ballotapi.Admin) error {
				by := f.change("")
				secret, until, err := operators.Recover(cmd.Context(), a, args[0], by.Actor, by.Reason, time.Now())
				if errors.Is(err, operators.ErrName) {
					return exit.Errorf(exit.Usage, "%q is no operator's name: %w", args[0], err)
				}
				if err != nil {
					return err
				}
				link := panelserver.LinkTo(strings.TrimSuffix(origin, "/"), secret)
				if f.output.json() {
					return writeJSON(cmd.OutOrStdout(), map[string]any{"link": link, "until": until})
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s registers a passkey, once, until %s, at\n%s\n", args[0], moment(until), link)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&f.reason, "reason", "", "why, for the operators' audit chain")
	cmd.Flags().StringVar(&origin, "panel-origin", "http://localhost:8081", "the control panel's `origin` as browsers see it")
	return cmd
}

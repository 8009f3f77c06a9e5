package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/popvote/popvote/libs/service"
)

func newVersionCommand() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say which build this is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			info := service.Version()
			if out.json() {
				return writeJSON(cmd.OutOrStdout(), info)
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "popvote", info)
			return err
		},
	}
	out.flag(cmd.Flags())
	return cmd
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/hashicorp/vault/api"
	"github.com/spf13/cobra"

	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/libs/vault/setup"
)

func newVaultCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vault",
		Short: "Set up the Vault that a cluster's keys come from",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newVaultApplyCommand())
	return cmd
}

func newVaultApplyCommand() *cobra.Command {
	var (
		out         output
		dir, values string
		check       bool
	)
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Bring policies, engines, roles and audit devices to what vault-policies says",
		Long: `Bring Vault to what a directory says: policies, engines, roles and audit devices. Only what
differs is changed, so it can be run again at any time; --check changes nothing, and exits
with 18 if anything differs.

Vault is found by VAULT_ADDR (and VAULT_CACERT), and asked with the token in VAULT_TOKEN,
which must be an administrator's. What differs between installations is in the file of
--values, mode 0600: vault-policies/README.md lists it.`,
		Example: `  popvote vault apply --values values.json --check
  popvote vault apply --values values.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(); err != nil {
				return err
			}
			given, err := readValues(values)
			if err != nil {
				return err
			}
			if os.Getenv(api.EnvVaultAddress) == "" || os.Getenv(api.EnvVaultToken) == "" {
				return exit.Errorf(exit.Usage, "VAULT_ADDR or VAULT_TOKEN is missing (see popvote vault apply --help)")
			}
			client, err := api.NewClient(nil)
			if err != nil {
				return exit.Errorf(exit.Usage, "couldn't use Vault: %w", err)
			}
			steps, err := setup.Apply(cmd.Context(), client, setup.Config{Files: os.DirFS(dir), Values: given, Check: check})
			if errors.Is(err, fs.ErrNotExist) {
				return exit.With(exit.BadInput, err)
			}
			if err := errors.Join(writeSteps(cmd, out, steps), err); err != nil {
				return err
			}
			if check && setup.Differs(steps) {
				return exit.Errorf(exit.Differs, "vault is not as %s says", dir)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "vault-policies", "the `directory` with policies and settings")
	cmd.Flags().StringVar(&values, "values", "", "a `file` (JSON, mode 0600) with the values that the settings leave open")
	cmd.Flags().BoolVar(&check, "check", false, "change nothing, and say what differs")
	out.flag(cmd.Flags())
	return cmd
}

func writeSteps(cmd *cobra.Command, out output, steps []setup.Step) error {
	if out.json() {
		return writeJSON(cmd.OutOrStdout(), map[string]any{"steps": steps})
	}
	if len(steps) == 0 {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "Nothing differs.")
		return err
	}
	t := newTable(cmd.OutOrStdout(), "", "PATH", "WHY")
	for _, s := range steps {
		t.row(s.Do, s.Path, s.Why)
	}
	return t.flush()
}

// readValues reads a file that may hold a password.
func readValues(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, exit.Errorf(exit.BadInput, "couldn't read the values: %w", err)
	}
	if loose := info.Mode().Perm() &^ 0o600; loose != 0 {
		return nil, exit.Errorf(exit.BadInput, "the mode of %s is %04o, so others may have the password in it; want 0600", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	var values map[string]string
	if err == nil {
		err = json.Unmarshal(text, &values)
	}
	if err != nil {
		return nil, exit.Errorf(exit.BadInput, "couldn't read the values: %w", err)
	}
	return values, nil
}

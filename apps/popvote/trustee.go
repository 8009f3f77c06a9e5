package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/trustee"
)

func newTrusteeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trustee",
		Short: "Make, split and combine the key that opens a poll's ballots",
		Long: `Make, split and combine the key that opens a poll's ballots.

Ballots are sealed to the tally key. Its private half is split among trustees, so that
nobody can open a ballot alone. Use a computer that is not connected to anything: nothing
here needs a network. Keys and shares are files of mode 0600 and never arguments; existing
files are not overwritten.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTrusteeNewCommand(), newTrusteeSplitCommand(), newTrusteeCombineCommand(), newTrusteeCheckCommand())
	return cmd
}

// dealing is how a key is shared out: the flags of new and split.
type dealing struct {
	needed, of int
	dir        string
}

func (d *dealing) flags(cmd *cobra.Command) {
	cmd.Flags().IntVar(&d.needed, "needed", 2, "how many trustees it takes to open the ballots")
	cmd.Flags().IntVar(&d.of, "of", 3, "how many trustees there are")
	cmd.Flags().StringVar(&d.dir, "dir", ".", "the `directory` for the shares, share-1.json and so on")
}

func (d *dealing) check() error {
	if d.needed < 1 || d.of < d.needed || d.of > trustee.MaxShares {
		return exit.Errorf(exit.Usage, "--needed %d --of %d: it takes 1 ≤ needed ≤ of ≤ %d", d.needed, d.of, trustee.MaxShares)
	}
	return nil
}

// deal writes the shares of a key: all of them or none.
func (d *dealing) deal(scalar []byte) (files []string, err error) {
	shares, err := trustee.Split(scalar, d.needed, d.of)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			for _, f := range files {
				_ = os.Remove(f) // we wrote it a moment ago
			}
			files, err = nil, exit.With(exit.BadInput, err)
		}
	}()
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, fmt.Errorf("couldn't make the directory: %w", err)
	}
	for _, s := range shares {
		path := filepath.Join(d.dir, fmt.Sprintf("share-%d.json", s.Index))
		if err := s.WriteFile(path); err != nil {
			return files, err
		}
		files = append(files, path)
	}
	return files, nil
}

func newTrusteeNewCommand() *cobra.Command {
	var (
		out output
		d   dealing
		key string
	)
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Make a tally key and share it out",
		Long: `Make a tally key and share it out. The public half is printed, for the poll file; the
private half exists nowhere but in the shares, unless --key asks for a file.`,
		Example: `  popvote trustee new --needed 3 --of 5 --dir shares >> poll.yaml
  popvote trustee new --key tally-key.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(out.check(), d.check()); err != nil {
				return err
			}
			scalar, public, err := trustee.NewKey()
			if err != nil {
				return err
			}
			defer clear(scalar)
			var files []string
			if key != "" {
				err = writeKey(key, scalar)
				files = []string{key}
			} else {
				files, err = d.deal(scalar)
			}
			if err != nil {
				return err
			}
			return writePublic(cmd, out, public, files)
		},
	}
	out.flag(cmd.Flags())
	d.flags(cmd)
	cmd.Flags().StringVar(&key, "key", "", "write the whole private key to this `file` instead of sharing it out")
	for _, f := range []string{"needed", "of", "dir"} {
		cmd.MarkFlagsMutuallyExclusive("key", f)
	}
	return cmd
}

func newTrusteeSplitCommand() *cobra.Command {
	var (
		out output
		d   dealing
	)
	cmd := &cobra.Command{
		Use:   "split KEY",
		Short: "Share out a tally key that exists (a file, or - for stdin)",
		Long: `Share out a tally key that exists (a file, or - for stdin). Shares of two splits cannot be
mixed; the file itself stays, and is yours to destroy.`,
		Example: `  popvote trustee split tally-key.json --needed 3 --of 5 --dir shares`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := errors.Join(out.check(), d.check()); err != nil {
				return err
			}
			var scalar []byte
			var public poll.JWK
			err := withInput(cmd.InOrStdin(), args[0], func(r io.Reader) (err error) {
				scalar, public, err = trustee.ReadKey(r)
				return err
			})
			if err != nil {
				return err
			}
			defer clear(scalar)
			files, err := d.deal(scalar)
			if err != nil {
				return err
			}
			return writePublic(cmd, out, public, files)
		},
	}
	out.flag(cmd.Flags())
	d.flags(cmd)
	return cmd
}

func newTrusteeCombineCommand() *cobra.Command {
	var (
		out output
		key string
	)
	cmd := &cobra.Command{
		Use:   "combine SHARE...",
		Short: "Restore the tally key from enough shares (files; - for one on stdin)",
		Long: `Restore the tally key from enough shares (files; - for one on stdin), and check it against
the public key they name. A share that is wrong is named by its number.

To count a poll this is not needed: popvote poll count takes the shares themselves.`,
		Example: `  popvote trustee combine share-1.json share-4.json share-5.json --key tally-key.json`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			if key == "" {
				return exit.Errorf(exit.Usage, "say with --key where to write the key (see %s --help)", cmd.CommandPath())
			}
			shares, err := readShares(cmd.InOrStdin(), args)
			if err != nil {
				return err
			}
			scalar, err := trustee.Combine(shares)
			if err != nil {
				return exit.With(exit.BadInput, err)
			}
			defer clear(scalar)
			public, err := trustee.PublicKey(scalar)
			if err != nil {
				return err
			}
			if err := writeKey(key, scalar); err != nil {
				return err
			}
			return writePublic(cmd, out, public, []string{key})
		},
	}
	out.flag(cmd.Flags())
	cmd.Flags().StringVar(&key, "key", "", "the `file` to write the private key to")
	return cmd
}

func newTrusteeCheckCommand() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "check SHARE...",
		Short: "Check shares, each by itself, without combining them",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			shares, err := readShares(cmd.InOrStdin(), args)
			if err != nil {
				return err
			}
			type row struct {
				File   string `json:"file"`
				Index  int    `json:"index"`
				K      int    `json:"k"`
				N      int    `json:"n"`
				KeyID  string `json:"key_id"`
				OK     bool   `json:"ok"`
				Reason string `json:"reason,omitempty"`
			}
			rows := make([]row, len(shares))
			var wrong error
			for i, s := range shares {
				rows[i] = row{args[i], s.Index, s.K, s.N, s.KeyID, true, ""}
				if err := s.Verify(); err != nil {
					rows[i].OK, rows[i].Reason = false, err.Error()
					wrong = errors.Join(wrong, fmt.Errorf("%s: %w", args[i], err))
				}
			}
			if out.json() {
				err = writeJSON(cmd.OutOrStdout(), map[string]any{"shares": rows})
			} else {
				t := newTable(cmd.OutOrStdout(), "FILE", "SHARE", "NEEDED", "KEY", "CHECK")
				for _, r := range rows {
					t.row(r.File, fmt.Sprintf("%d of %d", r.Index, r.N), r.K, r.KeyID, map[bool]string{true: "ok", false: "WRONG"}[r.OK])
				}
				err = t.flush()
			}
			if err != nil {
				return err
			}
			return exit.With(exit.BadInput, wrong)
		},
	}
	out.flag(cmd.Flags())
	return cmd
}

// withInput opens a file, or stdin for "-". Secrets come this way only: arguments are visible to others.
func withInput(stdin io.Reader, path string, read func(io.Reader) error) error {
	if path == "-" {
		return exit.With(exit.BadInput, read(stdin))
	}
	file, err := os.Open(path) //nolint:gosec // the user names the file
	if err != nil {
		return exit.With(exit.BadInput, err)
	}
	defer func() { _ = file.Close() }() // only read
	if err := read(file); err != nil {
		return exit.Errorf(exit.BadInput, "%s: %w", path, err)
	}
	return nil
}

func readShares(stdin io.Reader, paths []string) ([]trustee.Share, error) {
	shares := make([]trustee.Share, len(paths))
	for i, path := range paths {
		err := withInput(stdin, path, func(r io.Reader) (err error) {
			shares[i], err = trustee.ReadShare(r)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return shares, nil
}

func writeKey(path string, scalar []byte) error {
	data, err := trustee.MarshalKey(scalar)
	if err != nil {
		return err
	}
	defer clear(data)
	return exit.With(exit.BadInput, trustee.WriteSecret(path, data))
}

// writePublic prints the public key as the poll file wants it, and where the secret went.
func writePublic(cmd *cobra.Command, out output, public poll.JWK, files []string) error {
	if out.json() {
		return writeJSON(cmd.OutOrStdout(), struct {
			TallyKey poll.JWK `json:"tally_key"`
			Files    []string `json:"files"`
		}{public, files})
	}
	for _, f := range files {
		fmt.Fprintln(cmd.ErrOrStderr(), "wrote", f)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "tally_key:\n  kty: %s\n  crv: %s\n  x: %q\n  y: %q\n  kid: %q\n", public.Kty, public.Crv, public.X, public.Y, public.Kid)
	return err
}

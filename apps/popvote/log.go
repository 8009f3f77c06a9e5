package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/apps/popvote/internal/logmirror"
	"github.com/popvote/popvote/libs/ballotlog"
)

func newLogCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Copy a poll's ballot log",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLogMirrorCommand())
	return cmd
}

func newLogMirrorCommand() *cobra.Command {
	var (
		out    output
		source logSource
		dir    string
	)
	cmd := &cobra.Command{
		Use:   "mirror",
		Short: "Write a ballot log to a directory for any web server or CDN",
		Long: fmt.Sprintf(`Write a ballot log to a directory for any web server or CDN, in the layout of C2SP
tlog-tiles: checkpoint, tile/..., and beside them the signed manifest.json. Run it again
to bring the directory up to date: only what is new is read, every tile is checked before
it is written, and the checkpoint comes last, so that the directory may be served meanwhile.

Exit code %d: the log contradicts the mirror, which was left as it was. Keep it: it is
evidence. A witness (popvote witness) keeps both sides.`, exit.Forked),
		Example: `  popvote log mirror --log https://vote.example.hk --poll hk-2014-06 --dir /srv/log
  popvote witness --mirror https://mirror.example.org/log --poll hk-2014-06 --key witness.key --state witness`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(out.check(), required("dir", dir)); err != nil {
				return err
			}
			site, err := source.open()
			if err != nil {
				return err
			}
			result, err := logmirror.Update(cmd.Context(), site, source.poll, dir, source.signingKey, ballotlog.Patience)
			if errors.Is(err, logmirror.ErrDirectory) {
				return exit.With(exit.BadData, err)
			}
			if err != nil {
				return explainLog(err)
			}
			if out.json() {
				return writeLine(cmd.OutOrStdout(), result)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "The log of %s has %d ballots, %d of them new; %s were written.\n",
				source.poll, result.Size, result.Size-result.Before, plural(result.Tiles, "tile"))
			return err
		},
	}
	out.flag(cmd.Flags())
	source.flags(cmd)
	cmd.Flags().StringVar(&dir, "dir", "", "the `directory`; made if it is not there")
	return cmd
}

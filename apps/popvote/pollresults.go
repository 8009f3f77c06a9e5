package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/results"
	"github.com/popvote/popvote/libs/signed"
	"github.com/popvote/popvote/libs/tally"
)

// resultFormats write a counted result in each form.
var resultFormats = map[string]func(w io.Writer, m *poll.Manifest, r *tally.Result, d signed.Document, lang string) error{
	"csv": func(w io.Writer, m *poll.Manifest, r *tally.Result, _ signed.Document, lang string) error {
		return results.WriteCSV(w, results.Rows(m, r, lang))
	},
	"json": func(w io.Writer, _ *poll.Manifest, _ *tally.Result, d signed.Document, _ string) error {
		return writeJSON(w, d)
	},
	"nist": func(w io.Writer, m *poll.Manifest, r *tally.Result, _ signed.Document, _ string) error {
		return results.WriteNIST(w, m, r)
	},
}

func newPollResultsCommand(f *pollFlags) *cobra.Command {
	var format, lang string
	cmd := &cobra.Command{
		Use:   "results POLL",
		Short: "Print a counted result as CSV, as signed JSON, or as NIST election results JSON",
		Example: `  popvote poll results hk-2014-06 --format csv --lang zh-Hant-HK > result.csv
  popvote poll results hk-2014-06 --format nist > result.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			write, known := resultFormats[format]
			if !known {
				return exit.Errorf(exit.Usage, "--format is %q: want csv, json or nist", format)
			}
			var out bytes.Buffer
			err := f.with(cmd.Context(), func(a ballotapi.Admin) error {
				var m poll.Manifest
				var r tally.Result
				manifest, err := a.Manifest(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				result, err := a.CountedResult(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if err := json.Unmarshal(manifest.Plain, &m); err != nil {
					return fmt.Errorf("couldn't read the manifest: %w", err)
				}
				if err := json.Unmarshal(result.Plain, &r); err != nil {
					return fmt.Errorf("couldn't read the result: %w", err)
				}
				return write(&out, &m, &r, result, lang)
			})
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(out.Bytes())
			return err
		},
	}
	cmd.Flags().StringVar(&format, "format", "csv", "csv, json (the signed document) or nist (SP 1500-100, version 2)")
	cmd.Flags().StringVar(&lang, "lang", "en", "the language of a CSV's words")
	return cmd
}

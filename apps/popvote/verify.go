package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/apps/popvote/internal/progress"
	"github.com/popvote/popvote/libs/bundle"
	"github.com/popvote/popvote/libs/trustee"
)

func newVerifyCommand() *cobra.Command {
	var (
		out      output
		key      string
		receipts []string
		tallyKey string
	)
	cmd := &cobra.Command{
		Use:   "verify BUNDLE",
		Short: "Check the public bundle of a finished poll, and count it again",
		Long: fmt.Sprintf(`Check the public bundle of a finished poll, and count it again. No server is needed.

Every check is printed with its outcome: ok, FAILED, or not possible and why. A bundle
carries the key it is signed by; only you can say whose key that is. Give the thumbprint
that the organiser announced elsewhere with --key.

Exit codes: %d no check failed, %d a check failed, %d the bundle, a receipt or the key cannot be
read, %d wrong usage.`, exit.OK, exit.Unproven, exit.BadInput, exit.Usage),
		Example: `  popvote verify hk-2014-06.zip --key oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U
  popvote verify hk-2014-06.zip --receipt my-receipt.json
  popvote verify hk-2014-06.zip -o json | jq .checks`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(); err != nil {
				return err
			}
			options, err := verifyOptions(cmd.InOrStdin(), key, receipts, tallyKey)
			if err != nil {
				return err
			}
			report, err := verifyFile(cmd, args[0], options)
			if err != nil {
				return err
			}
			if out.json() {
				err = writeJSON(cmd.OutOrStdout(), struct {
					OK bool `json:"ok"`
					*bundle.Report
				}{report.OK(), report})
			} else {
				err = writeReport(cmd.OutOrStdout(), report)
			}
			if err == nil && !report.OK() {
				err = exit.Errorf(exit.Unproven, "the bundle does not prove its result")
			}
			return err
		},
	}
	out.flag(cmd.Flags())
	cmd.Flags().StringVar(&key, "key", "", "the signing key's `thumbprint`, as the organiser announced it")
	cmd.Flags().StringArrayVar(&receipts, "receipt", nil, "a voter's receipt (JSON `file`) to look for in the log; repeat")
	cmd.Flags().StringVar(&tallyKey, "tally-key", "", "for trustees: the combined tally key (`file`, or - for stdin), to open every ballot again")
	return cmd
}

func verifyOptions(stdin io.Reader, key string, receipts []string, tallyKey string) ([]bundle.Option, error) {
	var options []bundle.Option
	if key != "" {
		options = append(options, bundle.PinKey(key))
	}
	for _, path := range receipts {
		data, err := readSmall(path)
		if err != nil {
			return nil, exit.Errorf(exit.BadInput, "couldn't read the receipt: %w", err)
		}
		options = append(options, bundle.HasReceipt(path, data))
	}
	if tallyKey != "" {
		var scalar []byte
		err := withInput(stdin, tallyKey, func(r io.Reader) (err error) {
			scalar, _, err = trustee.ReadKey(r)
			return err
		})
		if err != nil {
			return nil, err
		}
		options = append(options, bundle.TallyKey(scalar))
	}
	return options, nil
}

func readSmall(path string) ([]byte, error) {
	const most = 64 << 10      // a receipt has about 2 kB
	file, err := os.Open(path) //nolint:gosec // the user names the file
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && len(data) > most {
		err = errors.New(path + " is too long")
	}
	return data, err
}

func verifyFile(cmd *cobra.Command, path string, options []bundle.Option) (*bundle.Report, error) {
	file, err := os.Open(path) //nolint:gosec // the user names the file
	if err != nil {
		return nil, exit.Errorf(exit.BadInput, "couldn't open the bundle: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	info, err := file.Stat()
	if err != nil {
		return nil, exit.Errorf(exit.BadInput, "couldn't read the bundle: %w", err)
	}
	// The live heap is a few megabytes, and every ballot leaves some garbage: it may pile up a little.
	defer debug.SetGCPercent(debug.SetGCPercent(200))
	bars := &steps{w: cmd.ErrOrStderr()}
	report, err := bundle.Verify(cmd.Context(), file, info.Size(), bars.at, options...)
	if err = errors.Join(err, bars.close()); err != nil {
		return nil, exit.Errorf(exit.BadInput, "couldn't verify %s: %w", path, err)
	}
	return report, nil
}

// steps shows one bar per step of a verification.
type steps struct {
	w    io.Writer
	step string
	bar  *progress.Bar
}

var stepNames = map[string]string{
	"ballots": "hashing sealed ballots",
	"reopen":  "hashing and opening sealed ballots",
	"opened":  "counting opened ballots",
}

func (s *steps) at(step string, done, total int64) {
	if step != s.step {
		_ = s.close() // a terminal that has gone stops nothing
		s.step, s.bar = step, progress.New(s.w, stepNames[step])
	}
	s.bar.At(done, total)
}

func (s *steps) close() error {
	if s.bar == nil {
		return nil
	}
	return s.bar.Close()
}

var statusWords = map[bundle.Status]string{bundle.OK: "ok", bundle.Failed: "FAILED", bundle.NotPossible: "not possible"}

func writeReport(w io.Writer, r *bundle.Report) error {
	fmt.Fprintf(w, "%s: %s\n\n", r.Poll, words(r.Title))
	failed, pinned := 0, false
	for _, c := range r.Checks {
		fmt.Fprintf(w, "  %-12s  %s\n", statusWords[c.Status], c.Title)
		if c.Detail != "" {
			fmt.Fprintf(w, "%s\n", indent(c.Detail, 16, 96))
		}
		switch {
		case c.Status == bundle.Failed:
			failed++
		case c.ID == bundle.CheckPinnedKey && c.Status == bundle.OK:
			pinned = true
		}
	}
	switch {
	case failed > 0:
		fmt.Fprintf(w, "\nThe bundle does NOT prove its result: %s failed.\n", plural(failed, "check"))
		return nil
	case pinned:
		fmt.Fprintf(w, "\nThe bundle holds: %d ballots, counted again with the same result.\n", r.Ballots)
	default:
		fmt.Fprintf(w, "\nThe bundle holds, if the organiser announced the key\n%s: %d ballots, counted again with the same result.\n", r.SigningKey, r.Ballots)
	}
	return writeResult(w, r.Manifest, r.Result)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// indent breaks a sentence into lines of a width.
func indent(s string, margin, width int) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(s) {
		switch {
		case column == 0:
			b.WriteString(strings.Repeat(" ", margin))
			column = margin
		case column+1+len(word) > width:
			b.WriteString("\n" + strings.Repeat(" ", margin))
			column = margin
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}

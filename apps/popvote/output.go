package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/popvote/popvote/apps/popvote/internal/exit"
)

// output is the -o flag: how a command prints what it found.
type output string

func (o *output) flag(flags *pflag.FlagSet) {
	flags.StringVarP((*string)(o), "output", "o", "table", "how to print: table or json")
}

func (o output) check() error {
	if o != "table" && o != "json" {
		return exit.Errorf(exit.Usage, "-o is %q: want table or json", string(o))
	}
	return nil
}

func (o output) json() bool { return o == "json" }

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// writeLine writes JSON on one line.
func writeLine(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

// table prints columns.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer, head ...string) *table {
	t := &table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	if len(head) > 0 {
		_, _ = fmt.Fprintln(t.w, strings.Join(head, "\t"))
	}
	return t
}

func (t *table) row(cells ...any) {
	for i, c := range cells {
		if i > 0 {
			_, _ = fmt.Fprint(t.w, "\t")
		}
		_, _ = fmt.Fprint(t.w, c)
	}
	_, _ = fmt.Fprintln(t.w)
}

// flush writes the table; what failed before is reported here.
func (t *table) flush() error { return t.w.Flush() }

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// Command votecheck compares a recorded history of casts with a published poll's bundle.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/popvote/popvote/apps/e2e/votecheck"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run exits with 0 if every promise was kept, 1 if one was broken, 2 if it could not tell.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("votecheck", flag.ContinueOnError)
	flags.SetOutput(stderr)
	asJSON := flags.Bool("json", false, "print the report as JSON")
	origin := flags.String("api", "", "the origin of an API server whose public pages must tell the same as the bundle")
	flags.Usage = func() {
		_, _ = fmt.Fprintln(stderr, "usage: votecheck [-json] [-api ORIGIN] HISTORY.jsonl BUNDLE.zip")
		flags.PrintDefaults()
	}
	if flags.Parse(args) != nil || flags.NArg() != 2 {
		flags.Usage()
		return 2
	}
	report, err := check(flags.Arg(0), flags.Arg(1), *origin)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "votecheck:", err)
		return 2
	}
	if err := write(stdout, report, *asJSON); err != nil {
		return 2
	}
	if !report.OK() {
		return 1
	}
	return 0
}

func check(history, bundle, origin string) (*votecheck.Report, error) {
	file, err := os.Open(history)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // only read
	events, err := votecheck.Read(file)
	if err != nil {
		return nil, err
	}
	final, err := votecheck.ReadBundle(bundle)
	if err != nil {
		return nil, err
	}
	if origin != "" {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		public := votecheck.Public{Client: http.DefaultClient, Origin: origin, Poll: final.Manifest.ID}
		if final.Readings, err = public.Readings(ctx); err != nil {
			return nil, err
		}
	}
	return votecheck.Check(events, final), nil
}

func write(w io.Writer, r *votecheck.Report, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	_, err := fmt.Fprintf(w, "%d casts: %d acknowledged, %d refused, %d unknown\n%d voters acknowledged, %d more recorded, %d ballots in the box\n",
		r.Casts, r.Acknowledged, r.Refused, r.Unknown, r.Voters, r.Recovered, r.Box)
	for _, v := range r.Violations {
		_, _ = fmt.Fprintln(w, "BROKEN", v)
	}
	if r.OK() {
		_, _ = fmt.Fprintln(w, "Every promise was kept.")
	}
	return err
}

// Command codes writes the problem codes of libs/problem into the API description's enum, in place.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"

	"github.com/popvote/popvote/libs/problem"
)

// marker ends everything of the file that is written by hand.
const marker = "    # ProblemCode is written by `make generate` from the table in libs/problem.\n"

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	flags := flag.NewFlagSet("codes", flag.ExitOnError)
	spec := flags.String("spec", "openapi.yaml", "the API description to write into")
	_ = flags.Parse(args)
	if err := write(*spec); err != nil {
		fmt.Fprintln(os.Stderr, "codes:", err)
		return 1
	}
	return 0
}

func write(path string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("couldn't read the description: %w", err)
	}
	head, _, found := bytes.Cut(old, []byte(marker))
	if !found {
		return fmt.Errorf("couldn't find the marker line in %s", path)
	}
	out := bytes.NewBuffer(head)
	out.WriteString(marker)
	out.WriteString("    ProblemCode:\n      type: string\n      description: |\n")
	for _, r := range problem.Table {
		fmt.Fprintf(out, "        * `%s` (%d, %s): %s. %s\n", r.Code, r.Status, r.Effect, r.Title, r.Advice)
	}
	out.WriteString("      enum:\n")
	for _, r := range problem.Table {
		fmt.Fprintf(out, "        - %s\n", r.Code)
	}
	if bytes.Equal(old, out.Bytes()) {
		return nil
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}

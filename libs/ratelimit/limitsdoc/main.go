// Command limitsdoc writes docs/limits.md from the table in libs/ratelimit.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/popvote/popvote/libs/ratelimit"
)

const head = `# Limits

<!-- Written by go generate in libs/ratelimit from its table; change the table, not this page. -->

Each limit is a row of the table in [libs/ratelimit](../libs/ratelimit/table.go). A client that has
been quiet may use a whole allowance at once; after that it grows back evenly over the window.
Answers to a limited request carry ` + "`RateLimit-Policy` and `RateLimit`" + ` for the limit with the
smallest share left; a refused one is the problem ` + "`rate-limited`" + ` with ` + "`Retry-After`" + `.

*Network* is the client's address cut to /24 (IPv4) or /48 (IPv6). *Voter* and *phone* are keyed
tags, never numbers. A limit by two dimensions counts each pair: so a stranger who types somebody
else's identity number uses up the stranger's allowance, not the voter's.

`

const tail = `
Beside these, each six-digit code allows five tries, and the waits before it is sent again grow (30,
60 and 120 seconds, then no more in that session). Those are counted on the verification board, by
session.

Where the limiter itself cannot answer, sending an SMS is refused; everything else goes on.

## Changing them

` + "`limits.override`" + ` replaces a row by its name, and ` + "`limits.scale`" + ` multiplies every count:

` + "```yaml" + `
limits:
  override:
    session-network: {count: 3000, window: 1m}   # a stadium behind one address
    cast-global: {count: 0, window: 1s}          # 0 takes a limit away
  scale: 1                                       # benches only: 1000000
` + "```" + `

The state is held in a bounded number of entries per limit (least recently used first out), so a
flood of addresses cannot fill the memory.
`

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	flags := flag.NewFlagSet("limitsdoc", flag.ExitOnError)
	out := flags.String("o", "limits.md", "the file to write")
	_ = flags.Parse(args)
	if err := os.WriteFile(*out, []byte(head+ratelimit.Markdown(ratelimit.Table)+tail), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "limitsdoc:", err)
		return 1
	}
	return 0
}

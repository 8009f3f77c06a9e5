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

## Several servers

The API servers of one cloud count together, in the cloud's Redis (the generic cell rate algorithm, by
redis_rate); clouds count apart. Each server first asks its own memory, with the same table, and what
that refuses never reaches Redis.

* **Sending an SMS and trying a code** then ask Redis before they go on, for 100 ms at most. What all
  servers of a cloud allow of these is exact.
* **Everything else** goes on at once, so that a cast never waits for Redis. Who has used up more than an
  eighth of an allowance at a server is told to Redis, within some 50 ms, and the server knows from the answer
  what the others have allowed: its headers say so, and it refuses when all of it is used up. So a limit may be
  overrun by what was not told, an eighth of it at each server, and by what happens meanwhile; and nearly every
  cast costs Redis nothing.

What stands in Redis is counters under keyed hashes, which end with their windows: no address, no tag.

When Redis is lost (dead, frozen, or none is known to Consul), each server counts in its own memory alone, and
sending and checking are held to these small budgets beside: closed to a little, never open. What the servers
counted together until then is forgotten if Redis comes back empty; each server's own memory stands.
` + "`popvote_limits_alone`" + ` is 1 for as long. Codes are kept in one cloud's Redis, whichever answers; while none does, they
are known to the server that sent them, and can be tried there alone. Who waits for an SMS of their own in a cloud
whose Redis is gone hears of it through another cloud's, once Consul has noticed; while none answers, they are asked to
try again. No vote needs Redis.

`

const end = `
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
	if err := os.WriteFile(*out, []byte(head+ratelimit.Markdown(ratelimit.Table)+tail+ratelimit.Markdown(ratelimit.Reserve)+end), 0o644); err != nil {
		fmt.Fprintln(os.Stderr, "limitsdoc:", err)
		return 1
	}
	return 0
}

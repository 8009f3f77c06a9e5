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
tags, never numbers, and so is *block*: 1,000 phone numbers that differ in their last three digits only.
Tags are each poll's own. A limit by two dimensions counts each pair: so a stranger who types somebody
else's identity number uses up the stranger's allowance, not the voter's. What counts by phone or block
alone is three times as much as with the network: it takes several networks to use that up.

`

const tail = `
Beside these, each six-digit code allows five tries, and the waits before it is sent again grow (30,
60 and 120 seconds, then no more in that session). Those are counted on the verification board, by
session.

## SMS pumps

Who is paid for the SMS that come in has codes sent to one number of theirs after the other. In the order in which
they are met:

| where | what | holds |
|---|---|---|
| API server | ` + "`-phone-countries`" + `: numbers of other countries are refused before anything is counted, solved or spent | countries that nobody votes from |
| API server | ` + "`send-block`, `send-block-all`" + ` | one block of 1,000 numbers, together in all servers of a cloud |
| API server | ` + "`send-network`, `send-poll`, `send-global`" + ` | one network; all |
| [gateway](sms.md) | ` + "`countries`" + `, and caps of money for each | what may be spent in a country |
| gateway | ` + "`block-hour`" + `: money for a block of 10,000 numbers | ten blocks of 1,000 side by side |
| gateway | the breaker on blocks of 10,000 whose codes nobody uses | slow pumps, below every count |

There is no row by country: the gateway's caps are in money, by country, and exact; a count beside them would say the same
less well. Numbers of a block that is refused get no SMS for a while, whoever's they are: a pump there, or somebody with
several networks, can hold up its honest owners until the allowance has grown back (one more every 20 seconds).

## One phone, many identities

` + "`verify-phone`" + ` counts the sessions that a phone has proved, once each, after the SMS: only whoever has the phone can use it
up, and only they are told that it is (` + "`phone-used-up`" + `). Ten in a day is meant for a family that shares a phone and loses a
page now and then, or for somebody who helps neighbours; where identity numbers are the weaker proof, a poll should allow less. The
counter is under a keyed hash of the phone's tag and says neither which voters nor whether they voted; it ends when the
allowance is whole again, 2.4 hours after a session for who had one.

## Several servers

The API servers of one cloud count together, in the cloud's Redis (the generic cell rate algorithm, by
redis_rate); clouds count apart. Each server first asks its own memory, with the same table, and what
that refuses never reaches Redis.

* **Sending an SMS, trying a code and having proved a phone** then ask Redis before they go on, for 100 ms at most. What all
  servers of a cloud allow of these is exact.
* **Everything else** goes on at once, so that a cast never waits for Redis. Who has used up more than an
  eighth of an allowance at a server is told to Redis, within some 50 ms, and the server knows from the answer
  what the others have allowed: its headers say so, and it refuses when all of it is used up. So a limit may be
  overrun by what was not told, an eighth of it at each server, and by what happens meanwhile; and nearly every
  cast costs Redis nothing.

What stands in Redis is counters under keyed hashes, which end with their windows: no address, no tag.

When Redis is lost (dead, frozen, or none is known to Consul), each server counts in its own memory alone, and
those three are held to these small budgets beside: closed to a little, never open. What the servers
counted together until then is forgotten if Redis comes back empty; each server's own memory stands.
` + "`popvote_limits_alone`" + ` is 1 for as long. Codes are kept in one cloud's Redis, whichever answers; while none does, they
are known to the server that sent them, and can be tried there alone. Who waits for an SMS of their own in a cloud
whose Redis is gone hears of it through another cloud's, once Consul has noticed; while none answers, they are asked to
try again. No vote needs Redis.

`

const end = `
## Changing them

In the configuration file of the API servers (or of ` + "`popvote up`" + `), ` + "`limits.override`" + ` replaces a row by its name,
` + "`limits.polls`" + ` does so for one poll, and ` + "`limits.scale`" + ` multiplies every count:

` + "```yaml" + `
limits:
  override:
    session-network: {count: 3000, window: 1m}   # a stadium behind one address
    cast-global: {count: 0, window: 1s}          # 0 takes a limit away
  polls:
    staff-2026:
      send-block: {count: 600, window: 1h}       # a company's phones, one number after the other
      send-block-all: {count: 600, window: 1h}
      verify-phone: {count: 1, window: 168h}     # everybody has a phone of their own
  scale: 1                                       # benches only: 1000000
` + "```" + `

What is done in a poll with a number of its own is counted apart from all other polls, in memory and in Redis, and the headers
say that number under the row's name. A poll's numbers are read strictly, all mistakes named at the start: a row must exist, have
a count of 1 to 100 times the table's, in a window of a second to a week, and not be one that counts all polls together
(by ` + "`global`" + `) or knows no poll yet (` + "`challenge-network`" + `). No single poll can be without a limit; what is taken away
for all is a warning in the log of the start. Numbers far below the table's turn honest voters away: ` + "`cast-voter`" + ` counts
retries of one ballot.

They are the operator's and not the poll file's. What comes of a poll file is signed, public and fixed once the poll is open, while
allowances may have to change in the middle of an attack, and protect machines and money that are not the poll author's.
Servers that share a Redis need the same numbers.

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

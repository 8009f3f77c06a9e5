// Command api-server is the Public Channels API as a program of its own.
package main

import (
	"fmt"
	"io"
	"os"
)

const usage = `api-server is the Public Channels API: the public face of PopVote.

It keeps nothing, so it needs others to work with: a ballot server and an SMS
gateway over the network (mutual TLS), a key ring, and a verification board that
they share. This release has none of these as network services yet; they live in
one process, which is started with

    popvote up

so api-server cannot be started by itself. What it would serve there is the
package apps/api-server/server, and the voter's page is apps/api-server/page.
`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run prints what is needed: on request it is an answer, otherwise a refusal.
func run(args []string, out, errs io.Writer) int {
	if len(args) == 1 && (args[0] == "help" || args[0] == "-h" || args[0] == "--help") {
		fmt.Fprint(out, usage)
		return 0
	}
	fmt.Fprint(errs, usage)
	return 2
}

// Command popvote is everything in one process for one machine, and the command line.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:]))
}

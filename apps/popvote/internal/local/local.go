// Package local lets the command line administer a running instance: ballotapi.Admin over HTTP (package
// wire) on a Unix socket in the data directory. Who may open the socket (mode 0600) may read the
// database beside it, so there is no other log-in, and errors are sent in full.
package local

// Name is the socket's name in the data directory.
const Name = "popvote.sock"

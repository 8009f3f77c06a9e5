package wire

import "github.com/popvote/popvote/libs/secretfile"

// ReadSecret returns what is in a file of mode 0600, without the end of its last line, at each use.
func ReadSecret(path string) (string, error) { return secretfile.Read(path) }

// CheckSecrets says whether the files, those that are named, hold secrets: a program should not find out
// by its first voter.
func CheckSecrets(paths ...string) error { return secretfile.Check(paths...) }

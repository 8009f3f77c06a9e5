// Package secretfile reads secrets that others gave us, such as a provider's key, from files: they are never values of
// a configuration, an argument or a variable.
package secretfile

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// longest is far above a private key's PEM, bytes.
const longest = 64 << 10

// Read returns what is in a file of mode 0600, without the end of its last line. Call it at each use: whoever
// rotates a secret writes the file, as Nomad does with what Vault gives it.
func Read(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("couldn't find a secret: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("couldn't trust %s: its mode is %04o, so others may know it; want 0600", path, mode)
	}
	if info.Size() > longest || !info.Mode().IsRegular() {
		return "", fmt.Errorf("couldn't read %s: it is no file with a secret", path)
	}
	content, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return "", fmt.Errorf("couldn't read a secret: %w", err)
	}
	secret := strings.TrimRight(string(content), "\r\n")
	if secret == "" {
		return "", fmt.Errorf("couldn't read a secret: %s is empty", path)
	}
	return secret, nil
}

// Check says whether the files, those that are named, hold secrets: a program should not find out by its first
// voter.
func Check(paths ...string) error {
	var wrong []error
	for _, path := range paths {
		if path != "" {
			_, err := Read(path)
			wrong = append(wrong, err)
		}
	}
	return errors.Join(wrong...)
}

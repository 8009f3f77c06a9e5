// Package e2e holds black-box tests on built binaries: they know the programs by their command lines,
// their ports and their files, and import none of them.
package e2e

// Package exit is the table of popvote's exit codes. Commands return errors that carry one; main
// turns it into the process's.
package exit

import (
	"errors"
	"fmt"
	"strings"

	"github.com/popvote/popvote/libs/service"
)

// Code is a process exit code. Codes are stable: scripts branch on them.
type Code int

// Every exit code of popvote. The first are every program's (libs/service); popvote's own begin at 10.
const (
	OK          Code = service.ExitOK
	Failed      Code = service.ExitFailure
	Usage       Code = service.ExitConfig
	PortTaken   Code = service.ExitPortTaken
	Interrupted Code = service.ExitInterrupted

	BadInput Code = 10
	BadData  Code = 11
	InUse    Code = 12
	Newer    Code = 13
	Refused  Code = 14
	NotFound Code = 15
	Unproven Code = 16
	Forked   Code = 17
	Differs  Code = 18
)

// Table says what each means, for the help texts and the documentation.
var Table = []struct {
	Code    Code
	Meaning string
}{
	{OK, "done; up: stopped cleanly"},
	{Failed, "something failed; the message says what"},
	{Usage, "wrong flags, arguments or configuration: nothing was done"},
	{PortTaken, "another program listens on the address"},
	{BadInput, "a file given is broken: a poll file, a share, a bundle"},
	{BadData, "the data directory cannot be used: not writable, full, or not a directory"},
	{InUse, "the data directory is in use by another process"},
	{Newer, "the data directory was written by a newer version"},
	{Refused, "the poll's state does not allow the change, or it was not confirmed"},
	{NotFound, "no such poll"},
	{Unproven, "verify: the bundle does not prove its result; poll key-proof: it is not shown; bench: votes failed or were lost"},
	{Forked, "witness, log mirror: the ballot log contradicts itself; keep the evidence"},
	{Differs, "vault apply --check: something is not as the files say"},
	{Interrupted, "a second Ctrl-C cut a stop short"},
}

// Help is the table as text.
func Help() string {
	var b strings.Builder
	b.WriteString("Exit codes:\n")
	for _, r := range Table {
		fmt.Fprintf(&b, "  %3d  %s\n", r.Code, r.Meaning)
	}
	return b.String()
}

// Error is an error with its exit code.
type Error struct {
	Code  Code
	cause error
}

// With gives an error its code; nil stays nil.
func With(code Code, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: code, cause: err}
}

// Errorf makes an error with its code.
func Errorf(code Code, format string, args ...any) error {
	return &Error{Code: code, cause: fmt.Errorf(format, args...)}
}

func (e *Error) Error() string { return e.cause.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Of finds an error's code: the outermost in its chain, else what any program would exit with.
func Of(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Code(service.ExitCode(err))
}

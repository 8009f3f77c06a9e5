// Package problem is the one typed error that crosses process boundaries, and the table of every
// public problem code. Problem documents (RFC 9457) are written from it at the edge only.
package problem

import (
	"errors"
	"fmt"
	"time"
)

// Effect says whether a refused or failed request changed anything.
type Effect string

// The three effects; see DESIGN.md §2 and docs/decisions.md.
const (
	Applied    Effect = "applied"
	NotApplied Effect = "not_applied"
	Unknown    Effect = "unknown"
)

// Code names a problem. Codes are stable: clients branch on them.
type Code string

// Error is a problem on its way to a client. The cause stays inside the process: only the code, the
// field, the detail and the delay are ever sent.
type Error struct {
	Code Code
	// Field is the JSON pointer of the member at fault, or empty.
	Field string
	// Detail is a sentence for integrators beyond the table's; it never holds a voter's data.
	Detail string
	// RetryAfter is when another try makes sense; 0 for never or at once.
	RetryAfter time.Duration

	cause error
}

// New returns an error of the code.
func New(code Code) *Error { return &Error{Code: code} }

// Wrap returns an error of the code that keeps its cause for the logs.
func Wrap(code Code, cause error) *Error { return &Error{Code: code, cause: cause} }

// At returns a copy that names the member at fault.
func (e *Error) At(pointer string) *Error { c := *e; c.Field = pointer; return &c }

// Because returns a copy with a sentence for integrators.
func (e *Error) Because(format string, args ...any) *Error {
	c := *e
	c.Detail = fmt.Sprintf(format, args...)
	return &c
}

// After returns a copy that says when to try again.
func (e *Error) After(d time.Duration) *Error { c := *e; c.RetryAfter = d; return &c }

// Row returns the code's row of the table; the row of Internal for a code that is not in it.
func (e *Error) Row() Row { return Lookup(e.Code) }

func (e *Error) Error() string {
	s := string(e.Code)
	if e.Field != "" {
		s += " at " + e.Field
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether the target is a problem of the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// From finds the problem in an error's chain; any other error is Internal, whose effect is unknown.
func From(err error) *Error {
	if p, ok := errors.AsType[*Error](err); ok {
		return p
	}
	return Wrap(Internal, err)
}

package poll

import (
	"fmt"
	"strings"
)

// Fault is one thing wrong with a definition.
type Fault struct {
	// Path leads to the place, as in questions[0].options[1].label.en; empty for the whole file.
	Path string
	// Line and Column count from 1; 0 where the definition did not come from a file.
	Line, Column int
	// Message is a plain sentence without its full stop.
	Message string
}

func (f Fault) String() string {
	if f.Path == "" {
		return f.Message
	}
	return f.Path + ": " + f.Message
}

// Faults are everything wrong with a definition that did not come from a file.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// FileError is everything wrong with a poll file, in the file's order.
type FileError struct {
	File string
	// Line and Column are those of the first fault.
	Line, Column int
	Faults       Faults
}

// Error gives each fault a line of its own, in the form editors jump to: file:line:column: message.
func (e *FileError) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = fmt.Sprintf("%s:%d:%d: %s", e.File, f.Line, f.Column, f)
	}
	return strings.Join(lines, "\n")
}

package wire

import "fmt"

// Faults are what is wrong with a configuration: all of it is said at once.
type Faults []error

// If adds a fault, if it is one.
func (f *Faults) If(is bool, format string, args ...any) {
	if is {
		*f = append(*f, fmt.Errorf(format, args...))
	}
}

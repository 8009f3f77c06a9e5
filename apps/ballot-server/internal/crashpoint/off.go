//go:build !crashpoints

package crashpoint

import "time"

// Here does nothing.
func Here(Point) {}

// Commit returns what it is given.
func Commit(commit func(commit func() error) error) func(commit func() error) error { return commit }

// Clock returns what it is given.
func Clock(clock func() time.Time) func() time.Time { return clock }

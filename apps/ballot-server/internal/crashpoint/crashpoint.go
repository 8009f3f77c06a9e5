// Package crashpoint names the moments of a commit at which a test has the ballot server die, as a power
// cut would have it, or stand still, and lets a test step its clock. Only a binary built with the tag "crashpoints" does
// either; in any other, every function here is empty and nothing reads an environment variable.
package crashpoint

// Point is a moment at which a process built for it can be made to die.
type Point string

// The points, in the order in which a commit passes them.
const (
	// BeforeBegin is before the transaction of a batch of ballots.
	BeforeBegin Point = "before-begin"
	// AfterInsert is after the last statement of a transaction, before its COMMIT.
	AfterInsert Point = "after-insert"
	// AfterCommit is after a COMMIT that succeeded, before anybody is told.
	AfterCommit Point = "after-commit"
)

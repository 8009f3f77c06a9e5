// Package chaos plans faults from a seed and puts some of them on the wire.
package chaos

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"time"
)

// Kind is what goes wrong.
type Kind string

// The faults of every round, each once, in an order drawn anew.
const (
	// Kill ends the process with SIGKILL at a random moment.
	Kill Kind = "kill"
	// BeforeBegin, AfterInsert and AfterCommit have it die at that point of its N-th commit.
	BeforeBegin Kind = "before-begin"
	AfterInsert Kind = "after-insert"
	AfterCommit Kind = "after-commit"
	// Pause stops the process for Length.
	Pause Kind = "pause"
	// Reset has the connections of the next N casts reset once they are answered: the ballot is recorded,
	// and its voter never hears so.
	Reset Kind = "reset"
)

// Kinds are all of them.
var Kinds = []Kind{Kill, BeforeBegin, AfterInsert, AfterCommit, Pause, Reset}

// Fault is one thing that goes wrong.
type Fault struct {
	Kind Kind
	// Wait is how long all is well before it.
	Wait time.Duration
	// N is of which commit, or how many casts; Length how long a pause is.
	N      int
	Length time.Duration
}

func (f Fault) String() string {
	switch f.Kind {
	case Kill:
		return "kill"
	case Pause:
		return fmt.Sprintf("pause for %s", f.Length)
	case Reset:
		return fmt.Sprintf("reset %d connections after COMMIT", f.N)
	default:
		return fmt.Sprintf("die at %s of commit %d", f.Kind, f.N)
	}
}

// Plan is the endless sequence of faults that a seed stands for: the same for the same seed, whatever
// happens meanwhile.
func Plan(seed uint64) iter.Seq[Fault] {
	return func(yield func(Fault) bool) {
		chance := rand.New(rand.NewPCG(seed, seed))
		for {
			for _, n := range chance.Perm(len(Kinds)) {
				f := Fault{
					Kind:   Kinds[n],
					Wait:   time.Duration(50+chance.IntN(450)) * time.Millisecond,
					N:      1 + chance.IntN(40),
					Length: time.Duration(50+chance.IntN(1450)) * time.Millisecond,
				}
				if !yield(f) {
					return
				}
			}
		}
	}
}

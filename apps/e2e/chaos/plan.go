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

// What may happen to one instance, or to a ballot server apart.
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

// What may happen besides to programs apart.
const (
	KillAPI       Kind = "kill-api"
	KillDatabase  Kind = "kill-database"
	PauseAPI      Kind = "pause-api"
	PauseDatabase Kind = "pause-database"
	// ResetBallots and ResetDatabase are Reset between API server and ballot server, and between ballot
	// server and database.
	ResetBallots  Kind = "reset-ballots"
	ResetDatabase Kind = "reset-database"
)

// The faults of every round, each once, in an order drawn anew.
var (
	// Together are those of everything in one process.
	Together = []Kind{Kill, BeforeBegin, AfterInsert, AfterCommit, Pause, Reset}
	// Apart are those of the programs by themselves.
	Apart = append(Together[:len(Together):len(Together)], KillAPI, KillDatabase, PauseAPI, PauseDatabase, ResetBallots, ResetDatabase)
)

// Fault is one thing that goes wrong.
type Fault struct {
	Kind Kind
	// Wait is how long all is well before it.
	Wait time.Duration
	// N is of which commit, or how many casts; Length how long a pause is.
	N      int
	Length time.Duration
	// Which of two programs it happens to, where there are two: 0 or 1.
	Which int
}

func (f Fault) String() string {
	switch f.Kind {
	case Kill, KillAPI, KillDatabase:
		return fmt.Sprintf("%s (%d)", f.Kind, f.Which)
	case Pause, PauseAPI, PauseDatabase:
		return fmt.Sprintf("%s (%d) for %s", f.Kind, f.Which, f.Length)
	case Reset, ResetBallots, ResetDatabase:
		return fmt.Sprintf("%s (%d): %d connections after COMMIT", f.Kind, f.Which, f.N)
	default:
		return fmt.Sprintf("die (%d) at %s of commit %d", f.Which, f.Kind, f.N)
	}
}

// Plan is the endless sequence of faults of these kinds that a seed stands for: the same for the same
// seed, whatever happens meanwhile.
func Plan(seed uint64, kinds []Kind) iter.Seq[Fault] {
	return func(yield func(Fault) bool) {
		chance := rand.New(rand.NewPCG(seed, seed))
		for {
			for _, n := range chance.Perm(len(kinds)) {
				f := Fault{
					Kind:   kinds[n],
					Wait:   time.Duration(50+chance.IntN(450)) * time.Millisecond,
					N:      1 + chance.IntN(40),
					Length: time.Duration(50+chance.IntN(1450)) * time.Millisecond,
					Which:  chance.IntN(2),
				}
				if !yield(f) {
					return
				}
			}
		}
	}
}

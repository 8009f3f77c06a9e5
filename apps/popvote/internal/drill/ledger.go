//go:build unix

// Package drill takes something away from a running cluster, on purpose and under load, and measures
// what that did. A drill is a hypothesis, one fault, a rule for when to stop, and the return; it says
// what was acknowledged, what of it is still there, and how long nothing could be written.
package drill

import (
	"context"
	"slices"
	"sync"
	"time"
)

// ledger is what voters were told, and when.
type ledger struct {
	began time.Time

	// mu guards what follows.
	mu    sync.Mutex
	acks  []ack
	tries int // that ended in no answer, or in one to ask again
	// open are votes whose outcome nobody knows.
	open map[string]bool
	// errors counts why tries failed.
	errors map[string]int
}

func newLedger() ledger {
	return ledger{began: time.Now(), open: map[string]bool{}, errors: map[string]int{}}
}

func (l *ledger) since() time.Duration { return time.Since(l.began) }

func (l *ledger) acknowledged() []ack {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.acks)
}

func (l *ledger) last() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.acks) == 0 {
		return 0
	}
	return l.acks[len(l.acks)-1].at
}

// ask notes that a vote is on its way.
func (l *ledger) ask(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[key] = true
}

// acked notes that a voter who began to cast at start was told that the vote is safe.
func (l *ledger) acked(key string, start time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, key)
	l.acks = append(l.acks, ack{key: key, at: time.Since(l.began), took: time.Since(start)})
}

// tried notes why a try failed.
func (l *ledger) tried(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tries++
	l.errors[why]++
}

// ack is one vote that was acknowledged: when, and how long its voter waited in all.
type ack struct {
	key  string
	at   time.Duration
	took time.Duration
}

// count is what became of the votes.
type count struct {
	Acknowledged int `json:"acknowledged"`
	Stored       int `json:"stored"`
	// Lost were acknowledged and are not there, Doubled are there twice, Strange were never sent.
	Lost    int `json:"lost"`
	Doubled int `json:"doubled"`
	Strange int `json:"strange"`
	// Broken are other promises that the checker found broken.
	Broken []string `json:"broken,omitempty"`
	// Unknown were never answered; Recovered of them are there.
	Unknown   int `json:"unknown"`
	Recovered int `json:"recovered"`
	// Verified went through the first two steps meanwhile.
	Verified int `json:"verified,omitempty"`
	// Refused are votes that were turned away for good, by the problem's code.
	Refused map[string]int `json:"refused,omitempty"`
	// Failed tries were repeated.
	Failed  int            `json:"failed_tries"`
	Reasons map[string]int `json:"reasons,omitempty"`
}

// patience is how long one try may take.
const patience = 4 * time.Second

// gap is the longest time without an acknowledgement that began at or after from and before to, and when
// it began.
func gap(acks []ack, from, to time.Duration) (longest, began time.Duration) {
	times := make([]time.Duration, len(acks))
	for i, a := range acks {
		times[i] = a.at
	}
	slices.Sort(times)
	was := from
	note := func(at time.Duration) {
		if was < to && at-was > longest {
			longest, began = at-was, was
		}
	}
	for _, at := range times {
		if at < from {
			continue
		}
		note(at)
		was = at
	}
	note(to) // nothing more came
	return longest, began
}

// p99 is the time that of a hundred voters one waited longer than, of those answered in a time.
func p99(acks []ack, from, to time.Duration) time.Duration {
	var took []time.Duration
	for _, a := range acks {
		if a.at >= from && a.at < to {
			took = append(took, a.took)
		}
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// wait waits, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

package bench

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/popvote/popvote/libs/problem"
)

// work does one unit of load; n counts all units of a phase from 0. It reports what became of it in
// one word, which is "ok" when it did what it should.
type work func(n int64) (outcome string)

const (
	ok = "ok"
	// refused is what an overloaded server answers (problem.Overloaded).
	refused = string(problem.Overloaded)
)

// worker makes the work of one client, on connections that it makes before; closing ends them.
type worker func() (do work, closing func())

// client is one that is connected.
type client struct {
	do      work
	closing func()
}

// connect makes clients, before the clock starts.
func connect(n int, newClient worker) []client {
	clients := make([]client, n)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() { clients[i].do, clients[i].closing = newClient() })
	}
	all.Wait()
	return clients
}

// sample is what one phase of load came to.
type sample struct {
	// took are the latencies of the units that succeeded; refused is how long those waited for their answer
	// that were turned away, from when they were sent: whoever is due late is the load's fault.
	took     latencies
	refused  latencies
	outcomes map[string]int64
	elapsed  time.Duration
}

func (s *sample) rate() float64 { return float64(len(s.took)) / s.elapsed.Seconds() }

// latencies are sorted once a phase is over.
type latencies []time.Duration

// percentile returns a latency in milliseconds; q is from 0 to 1.
func (l latencies) percentile(q float64) float64 {
	if len(l) == 0 {
		return 0
	}
	return float64(l[min(len(l)-1, int(q*float64(len(l))))].Microseconds()) / 1000
}

// closedLoop keeps every client busy: the next unit starts when the last one ends. It stops after the
// time, or when limit units were begun.
func closedLoop(ctx context.Context, clients []client, lasts time.Duration, limit int64) *sample {
	ctx, cancel := context.WithTimeout(ctx, lasts)
	defer cancel()
	var next atomic.Int64
	return run(clients, func(_ int, do work, note func(outcome string, fromDue, fromSent time.Duration)) {
		for ctx.Err() == nil {
			n := next.Add(1) - 1
			if n >= limit {
				return
			}
			begin := time.Now()
			outcome := do(n)
			took := time.Since(begin)
			note(outcome, took, took)
		}
	})
}

// openLoop begins units at fixed times, whether or not earlier ones have ended: client i takes every
// clients-th arrival. Latency counts from when a unit was due, so a stall is seen by all it delayed.
func openLoop(ctx context.Context, clients []client, rate float64, total int64) *sample {
	start := time.Now().Add(50 * time.Millisecond)
	return run(clients, func(i int, do work, note func(outcome string, fromDue, fromSent time.Duration)) {
		for n := int64(i); n < total && ctx.Err() == nil; n += int64(len(clients)) {
			due := start.Add(time.Duration(float64(n) / rate * float64(time.Second)))
			time.Sleep(time.Until(due))
			begin := time.Now()
			outcome := do(n)
			note(outcome, time.Since(due), time.Since(begin))
		}
	})
}

// run has all clients go through a loop, and then hang up.
func run(clients []client, loop func(i int, do work, note func(outcome string, fromDue, fromSent time.Duration))) *sample {
	out := &sample{outcomes: map[string]int64{}}
	var mu sync.Mutex // guards out while the clients end
	var all sync.WaitGroup
	begin := time.Now()
	for i, c := range clients {
		all.Go(func() {
			defer c.closing()
			var took, turned latencies
			outcomes := map[string]int64{}
			loop(i, c.do, func(outcome string, fromDue, fromSent time.Duration) {
				outcomes[outcome]++
				switch outcome {
				case ok:
					took = append(took, fromDue)
				case refused:
					turned = append(turned, fromSent)
				}
			})
			mu.Lock()
			defer mu.Unlock()
			out.took = append(out.took, took...)
			out.refused = append(out.refused, turned...)
			for o, n := range outcomes {
				out.outcomes[o] += n
			}
		})
	}
	all.Wait()
	out.elapsed = time.Since(begin)
	slices.Sort(out.took)
	slices.Sort(out.refused)
	return out
}

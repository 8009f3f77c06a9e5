package bench

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// work does one unit of load; n counts all units of a phase from 0. It reports what became of it in
// one word, which is "ok" when it did what it should.
type work func(n int64) (outcome string)

const ok = "ok"

// worker makes the work of one client; closing ends its connections.
type worker func() (do work, closing func())

// sample is what one phase of load came to.
type sample struct {
	// took holds the latencies of the units that succeeded, sorted.
	took     []time.Duration
	outcomes map[string]int64
	elapsed  time.Duration
}

func (s *sample) rate() float64 { return float64(len(s.took)) / s.elapsed.Seconds() }

// percentile returns a latency; q is from 0 to 1.
func (s *sample) percentile(q float64) time.Duration {
	if len(s.took) == 0 {
		return 0
	}
	return s.took[min(len(s.took)-1, int(q*float64(len(s.took))))]
}

// closedLoop keeps every client busy: the next unit starts when the last one ends. It stops after the
// time, or when limit units were begun.
func closedLoop(ctx context.Context, clients int, lasts time.Duration, limit int64, newClient worker) *sample {
	ctx, cancel := context.WithTimeout(ctx, lasts)
	defer cancel()
	var next atomic.Int64
	return run(clients, newClient, func(_ int, do work, note func(string, time.Duration)) {
		for ctx.Err() == nil {
			n := next.Add(1) - 1
			if n >= limit {
				return
			}
			begin := time.Now()
			note(do(n), time.Since(begin))
		}
	})
}

// openLoop begins units at fixed times, whether or not earlier ones have ended: client i takes every
// clients-th arrival. Latency counts from when a unit was due, so a stall is seen by all it delayed.
func openLoop(ctx context.Context, clients int, rate float64, total int64, newClient worker) *sample {
	start := time.Now().Add(50 * time.Millisecond)
	return run(clients, newClient, func(i int, do work, note func(string, time.Duration)) {
		for n := int64(i); n < total && ctx.Err() == nil; n += int64(clients) {
			due := start.Add(time.Duration(float64(n) / rate * float64(time.Second)))
			time.Sleep(time.Until(due))
			note(do(n), time.Since(due))
		}
	})
}

func run(clients int, newClient worker, loop func(i int, do work, note func(string, time.Duration))) *sample {
	out := &sample{outcomes: map[string]int64{}}
	var mu sync.Mutex // guards out while the clients end
	var all sync.WaitGroup
	begin := time.Now()
	for i := range clients {
		all.Go(func() {
			do, closing := newClient()
			defer closing()
			var took []time.Duration
			outcomes := map[string]int64{}
			loop(i, do, func(outcome string, d time.Duration) {
				outcomes[outcome]++
				if outcome == ok {
					took = append(took, d)
				}
			})
			mu.Lock()
			defer mu.Unlock()
			out.took = append(out.took, took...)
			for o, n := range outcomes {
				out.outcomes[o] += n
			}
		})
	}
	all.Wait()
	out.elapsed = time.Since(begin)
	slices.Sort(out.took)
	return out
}

package server

import (
	"crypto/rand"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
)

// BenchmarkCast is durable casts through the committer, as the API server makes them: callers at once,
// each with an array of ballots, each waiting for its receipts.
func BenchmarkCast(b *testing.B) {
	for _, load := range []struct{ callers, ballots int }{{1, 1}, {64, 1}, {256, 1}, {8, 64}, {4, 512}} {
		b.Run(fmt.Sprintf("callers=%d/ballots=%d", load.callers, load.ballots), func(b *testing.B) {
			box := newBox(b)
			box.move(poll.Open)
			size := ballot.SealedSize(ballot.Size(&box.poll))
			calls := make(chan []ballotapi.Ballot, b.N)
			for i := 0; i < b.N; {
				var call []ballotapi.Ballot
				for ; len(call) < load.ballots && i < b.N; i++ {
					sealed := make([]byte, size)
					_, _ = rand.Read(sealed)
					call = append(call, cast(i, "bench", sealed))
				}
				calls <- call
			}
			close(calls)
			var failed atomic.Int64
			var callers sync.WaitGroup
			before := cpu(b)
			b.ResetTimer()
			for range load.callers {
				callers.Go(func() {
					for call := range calls {
						outcomes, err := box.Cast(b.Context(), call)
						if err != nil {
							failed.Add(int64(len(call)))
						}
						for _, o := range outcomes {
							if o.Receipt == nil {
								failed.Add(1)
							}
						}
					}
				})
			}
			callers.Wait()
			b.StopTimer()
			if n := failed.Load(); n > 0 {
				b.Fatalf("%d ballots got no receipt", n)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ballots/s")
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/ballot")
		})
	}
}

// cpu is the processor time this process has used: steadier than the clock on a busy machine.
func cpu(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

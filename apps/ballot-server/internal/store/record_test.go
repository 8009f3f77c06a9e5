package store

import (
	"crypto/rand"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"
)

func randomBallot(size int) Ballot {
	b := Ballot{Sealed: make([]byte, size), Channel: "web", TookUpTo: 60}
	for _, f := range [][]byte{b.Voter[:], b.KeyHash[:], b.ReqHash[:], b.Leaf[:], b.Sealed} {
		_, _ = rand.Read(f)
	}
	return b
}

func seal(leaves [][32]byte) (*Batch, error) {
	b := &Batch{Leaves: leaves, JWS: "a.b.c"}
	_, _ = rand.Read(b.ID[:])
	return b, nil
}

const sealedSize = 273

func openTest(t testing.TB, cfg Config) *Store {
	t.Helper()
	if cfg.Dir == "" && cfg.DSN == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Clock == nil {
		cfg.Clock = func() time.Time { return time.UnixMilli(5_000_000) }
	}
	s, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func addPoll(t testing.TB, s *Store, id string) {
	t.Helper()
	err := s.Write(t.Context(), func(tx Tx) error {
		return tx.SavePoll(&Poll{ID: id, Definition: "{}", State: "open", OpensAt: 0, ClosesAt: 1 << 60, SealedSize: sealedSize, AuditHash: []byte{}})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func group(id string, ballots ...Ballot) *Group {
	return &Group{Poll: id, Ballots: ballots, Seal: seal, Peak: func(int) *Peak { return nil }}
}

// BenchmarkRecord is the hot insert by itself, at the batch sizes that load makes.
func BenchmarkRecord(b *testing.B) {
	for _, size := range []int{1, 16, 256, 1024} {
		b.Run(fmt.Sprintf("batch=%d", size), func(b *testing.B) {
			s := openTest(b, Config{})
			addPoll(b, s, "p")
			batches := make([][]Ballot, b.N)
			for i := range batches {
				for range size {
					batches[i] = append(batches[i], randomBallot(sealedSize))
				}
			}
			before := cpu(b)
			b.ResetTimer()
			took := make([]time.Duration, 0, b.N)
			for _, batch := range batches {
				started := time.Now()
				g := group("p", batch...)
				if err := s.Record(b.Context(), []*Group{g}); err != nil {
					b.Fatal(err)
				}
				if g.Verdicts[0].Judgement != Recorded {
					b.Fatal(g.Verdicts[0])
				}
				took = append(took, time.Since(started))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(size*b.N), "cpu-µs/ballot")
			b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "ballots/s")
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

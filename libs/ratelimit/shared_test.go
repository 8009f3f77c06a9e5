package ratelimit

import (
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/popvote/popvote/libs/identity"
	"github.com/popvote/popvote/libs/redistest"
)

// eventually waits until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for range 2000 {
		if so() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("not within 20 s: %s", what)
}

// servers are API servers of one cloud that count together, as soon as they do.
func servers(t *testing.T, s *redistest.Server, n int, override map[string]Rate) []*Shared {
	t.Helper()
	out := make([]*Shared, n)
	for i := range out {
		one, err := NewShared(SharedConfig{
			Config: Config{Override: override}, Redis: &redis.Options{Addr: s.Addr()}, Secret: [32]byte{1},
			Patience: 5 * time.Second, // the machine may be busy: only a Redis that is gone is to be
		}, SharedDeps{Clock: time.Now, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { one.Close() })
		out[i] = one
	}
	joined(t, out)
	return out
}

func joined(t *testing.T, all []*Shared) {
	t.Helper()
	for _, one := range all {
		eventually(t, "Redis answers", func() bool { return !one.away.Load() })
	}
}

func voter(i int) Subject {
	return Subject{
		Client: netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}),
		Phone:  identity.PhoneTag{1, byte(i), byte(i >> 8)}, Voter: identity.VoterTag{2, byte(i), byte(i >> 8)}, Poll: "p",
	}
}

// storm takes an action many times on all servers at once, for one subject, and counts what is allowed.
func storm(t *testing.T, all []*Shared, action Action, who Subject, times int) int {
	t.Helper()
	var allowed atomic.Int64
	var group sync.WaitGroup
	for _, one := range all {
		for range 4 {
			group.Go(func() {
				for range times {
					d, err := one.Take(t.Context(), action, who)
					if err != nil {
						t.Error(err)
					}
					if d.Allowed {
						allowed.Add(1)
					}
				}
			})
		}
	}
	group.Wait()
	return int(allowed.Load())
}

// TestServersCountTogether: what costs money and what is guessing is exact, whichever server is asked.
func TestServersCountTogether(t *testing.T) {
	all := servers(t, redistest.Start(t), 3, nil)
	if n := storm(t, all, Send, voter(1), 10); n != 8 {
		t.Errorf("%d sendings to one phone, want 8", n)
	}
	if n := storm(t, all, Check, voter(1), 10); n != 40 {
		t.Errorf("%d tries for one phone, want 40", n)
	}
	d, _ := all[0].Take(t.Context(), Send, voter(1))
	if d.Allowed || d.Limit.Name != "send-phone" || d.RetryAfter <= 0 || d.RetryAfter > time.Hour {
		t.Errorf("%+v", d)
	}
	// Who is refused has not used up the network's.
	if got := storm(t, all, Send, Subject{Client: voter(1).Client, Phone: identity.PhoneTag{9}}, 3); got != 8 {
		t.Errorf("%d sendings to another phone, want 8", got)
	}
}

// TestWhatIsReturnedCanBeTakenElsewhere, and what one sending cost beside the limit that refused it too.
func TestWhatIsReturnedCanBeTakenElsewhere(t *testing.T) {
	all := servers(t, redistest.Start(t), 2, map[string]Rate{"send-phone": {Count: 1, Window: time.Hour}, "session-voter": {Count: 1, Window: time.Hour}})
	for i := range 6 {
		one, other := all[i%2], all[(i+1)%2]
		if d, _ := one.Take(t.Context(), Send, voter(1)); !d.Allowed {
			t.Fatalf("%d: %+v", i, d)
		}
		if d, _ := other.Take(t.Context(), Send, voter(1)); d.Allowed {
			t.Fatalf("%d: it was allowed twice", i)
		}
		one.Return(t.Context(), Send, voter(1))
	}
	if d, _ := all[0].Take(t.Context(), Session, voter(1)); !d.Allowed {
		t.Fatalf("%+v", d)
	}
	eventually(t, "the other server hears of it", func() bool { _, found := find(all[0], Session, voter(1)); return found })
	all[0].Return(t.Context(), Session, voter(1))
	all[0].refused = newRefused(0) // as after the wait
	eventually(t, "it can be taken at the other server", func() bool {
		d, _ := all[1].Take(t.Context(), Session, voter(1))
		return d.Allowed
	})
}

func find(s *Shared, action Action, who Subject) (Decision, bool) {
	return s.refused.find(s.local.rows[action], who, time.Now)
}

// TestACastIsToldAfterwards: servers that each allow a network its all refuse it once they have told.
func TestACastIsToldAfterwards(t *testing.T) {
	all := servers(t, redistest.Start(t), 3, map[string]Rate{"cast-network": {Count: 300, Window: time.Hour}})
	who := voter(1)
	who.Voter = identity.VoterTag{}
	for _, one := range all { // within what each may do alone
		for range 120 {
			if d, _ := one.Take(t.Context(), Cast, who); !d.Allowed {
				return // the others have told so fast that it is refused already
			}
		}
	}
	// The last one to tell learns of it; the others with the next cast that they tell.
	for i, one := range all {
		eventually(t, "the network is refused", func() bool {
			d, _ := one.Take(t.Context(), Cast, who)
			return !d.Allowed && d.Limit.Name == "cast-network" && d.RetryAfter > 0
		})
		if d, _ := one.Take(t.Context(), Cast, voter(2)); !d.Allowed {
			t.Errorf("server %d refuses another network", i)
		}
	}
}

// TestWithoutRedisEachHasASmallBudget kills and freezes the Redis under load, and starts it again empty.
func TestWithoutRedisEachHasASmallBudget(t *testing.T) {
	for how, fault := range map[string]struct{ begin, end func(*redistest.Server) }{
		"killed": {(*redistest.Server).Kill, (*redistest.Server).Start},
		"frozen": {(*redistest.Server).Pause, (*redistest.Server).Resume},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			all := servers(t, server, 2, map[string]Rate{"send-global-alone": {Count: 30, Window: time.Hour}})
			for _, one := range all {
				one.patience = 200 * time.Millisecond
			}
			// Voters come all the while, and none waits or is refused for the Redis's sake.
			stop := make(chan struct{})
			var load sync.WaitGroup
			for _, one := range all {
				load.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-stop:
							return
						case <-time.After(time.Millisecond):
						}
						for _, action := range []Action{Session, Wait, Cast} {
							if d, err := one.Take(t.Context(), action, voter(i%5000)); err != nil || !d.Allowed {
								t.Errorf("%s: %+v, %v", action, d, err)
								return
							}
						}
					}
				})
			}
			if n := storm(t, all, Send, voter(10_001), 3); n != 8 {
				t.Errorf("before: %d sendings to one phone, want 8", n)
			}
			fault.begin(server)
			// Sending: 3 to a phone and 30 in all, at each server; not one more, and not none.
			for _, one := range all {
				eventually(t, "the server knows", func() bool {
					one.Take(t.Context(), Check, voter(10_002))
					return one.away.Load()
				})
			}
			if n := storm(t, all, Send, voter(10_003), 20); n != 2*3 {
				t.Errorf("%s: %d sendings to one phone, want 3 at each of 2 servers", how, n)
			}
			sent := 0
			for i := range 100 {
				sent += storm(t, all, Send, voter(11_000+i), 1)
			}
			if sent != 2*(30-3) {
				t.Errorf("%s: %d sendings to many phones, want %d", how, sent, 2*27)
			}
			if n := storm(t, all, Check, voter(10_004), 20); n != 2*10 {
				t.Errorf("%s: %d tries for one phone, want 10 at each of 2 servers", how, n)
			}
			fault.end(server)
			joined(t, all)
			if n := storm(t, all, Send, voter(10_005), 20); n != 8 {
				t.Errorf("afterwards: %d sendings to one phone, want 8", n)
			}
			close(stop)
			load.Wait()
		})
	}
}

// TestTheServerHoldsNoNames looks at all that Redis holds: counters that end.
func TestTheServerHoldsNoNames(t *testing.T) {
	one := servers(t, redistest.Start(t), 1, nil)[0]
	for _, action := range []Action{Challenge, Attempt, Session, Send, Check, Wait, Cast, Download} {
		one.Take(t.Context(), action, voter(1))
	}
	var names []string
	eventually(t, "all is told", func() bool {
		names, _ = one.client.Keys(t.Context(), "*").Result()
		return len(names) == len(Table)
	})
	for _, name := range names {
		hash, ours := strings.CutPrefix(name, "rate:popvote:limit:")
		if ttl := one.client.TTL(t.Context(), name).Val(); !ours || len(hash) != 22 || ttl <= 0 || ttl > time.Hour {
			t.Errorf("%s ends in %v", name, ttl)
		}
	}
}

// TestTheHotPathStaysClean: neither limiter leaves garbage on the way of a cast.
func TestTheHotPathStaysClean(t *testing.T) {
	local, err := NewLocal(Config{Scale: 1e6}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	// One that tells nobody: what its goroutines leave is not the caller's.
	alone := &Shared{local: local, clock: time.Now, refused: newRefused(0), events: make(chan event, 2000)}
	for name, one := range map[string]Limiter{"local": local, "shared": alone} {
		if n := testing.AllocsPerRun(1000, func() { one.Take(t.Context(), Cast, voter(1)) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

package ratelimit

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/cloudredis"
	"github.com/popvote/popvote/libs/discovery"
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

// slow is a busy machine's time for an answer: only a Redis that is gone is to be away.
const slow = 5 * time.Second

func waiting(all []*Shared, d time.Duration) {
	for _, one := range all {
		one.patience = d
	}
}

// place is where the cloud's Redis is found; a test changes it.
type place struct{ atomic.Pointer[string] }

func (p *place) Find(string) []discovery.Instance { return []discovery.Instance{{Address: *p.Load()}} }

// servers are API servers of one cloud that count together, as soon as they do.
func servers(t *testing.T, s *redistest.Server, n int, override map[string]Rate) []*Shared {
	t.Helper()
	all, _ := serversThatMove(t, s, n, Config{Override: override})
	return all
}

func serversThatMove(t *testing.T, s *redistest.Server, n int, config Config) ([]*Shared, *place) {
	t.Helper()
	at := &place{}
	where := s.Addr()
	at.Store(&where)
	out := make([]*Shared, n)
	for i := range out {
		link := cloudredis.NewLink(cloudredis.Config{Access: cloudredis.Access{Timeout: slow}, Finder: at})
		t.Cleanup(func() { link.Close() })
		one, err := NewShared(SharedConfig{
			Config: config, Redis: link, Secret: [32]byte{1},
			Patience: slow,
		}, SharedDeps{Clock: time.Now, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(one.Close)
		out[i] = one
	}
	joined(t, out)
	return out, at
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
		Phone:  identity.PhoneTag{1, byte(i), byte(i >> 8)}, Voter: identity.VoterTag{2, byte(i), byte(i >> 8)},
		Block: identity.BlockTag{3, byte(i), byte(i >> 8)}, Poll: "p",
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
	// What one server allowed is less at the next, and the voter is told so.
	for i := range 6 {
		d, _ := all[i%3].Take(t.Context(), Check, voter(2))
		if policy, left := d.Policy(), d.Header(); policy != `"check-phone";q=40;w=3600` || !strings.HasPrefix(left, fmt.Sprintf(`"check-phone";r=%d;t=`, 39-i)) {
			t.Errorf("try %d: %s %s", i, policy, left)
		}
	}
	// Who is refused has not used up the network's.
	if got := storm(t, all, Send, Subject{Client: voter(1).Client, Phone: identity.PhoneTag{9}}, 3); got != 8 {
		t.Errorf("%d sendings to another phone, want 8", got)
	}
}

// TestServersCountAPollApart: a poll's own number is exact in Redis too, and nobody else's; so is what a phone proves.
func TestServersCountAPollApart(t *testing.T) {
	all, _ := serversThatMove(t, redistest.Start(t), 3, Config{Polls: map[string]map[string]Rate{
		"staff": {"send-phone": {Count: 3, Window: time.Hour}, "verify-phone": {Count: 2, Window: time.Hour}},
	}})
	staff := voter(1)
	staff.Poll = "staff"
	for _, one := range []struct {
		action Action
		who    Subject
		want   int
	}{{Send, staff, 3}, {Send, voter(1), 8}, {Verify, staff, 2}, {Verify, voter(1), 10}} {
		if n := storm(t, all, one.action, one.who, 10); n != one.want {
			t.Errorf("%s in %s: %d, want %d", one.action, one.who.Poll, n, one.want)
		}
	}
	d, _ := all[0].Take(t.Context(), Send, staff)
	if policy, left := d.Policy(), d.Header(); d.Allowed || policy != `"send-phone";q=3;w=3600` || !strings.HasPrefix(left, `"send-phone";r=0;t=`) {
		t.Errorf("%s %s", policy, left)
	}
	all[0].Return(t.Context(), Send, staff)
	if d, _ := all[1].Take(t.Context(), Send, staff); !d.Allowed || !strings.HasPrefix(d.Header(), `"send-phone";r=0;t=`) {
		t.Errorf("what was given back here can't be taken there: %+v", d)
	}
}

// TestWhatIsReturnedCanBeTakenElsewhere, and what came to nothing after it was told is handed back.
func TestWhatIsReturnedCanBeTakenElsewhere(t *testing.T) {
	all := servers(t, redistest.Start(t), 2, map[string]Rate{"send-phone": {Count: 1, Window: time.Hour}, "session-voter": {Count: 4, Window: time.Hour}})
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
	one := all[0]
	left := func(want int) func() bool {
		return func() bool {
			for _, r := range one.local.rows[Session] {
				if r.Name == "session-voter" {
					answers, err := one.count(t.Context(), []count{{r, voter(1), 0}})
					return err == nil && answers[0].Remaining == want
				}
			}
			return false
		}
	}
	for range 6 {
		if d, _ := one.Take(t.Context(), Session, voter(1)); !d.Allowed {
			t.Fatalf("%+v", d)
		}
		eventually(t, "Redis has heard of it", left(3))
		one.Return(t.Context(), Session, voter(1))
		eventually(t, "Redis has taken it back", left(4))
	}
}

// TestACastIsToldAfterwards: servers that each allow a network its all refuse it once they have told.
func TestACastIsToldAfterwards(t *testing.T) {
	all := servers(t, redistest.Start(t), 3, map[string]Rate{"cast-network": {Count: 300, Window: time.Hour}})
	who := voter(1)
	who.Voter = identity.VoterTag{}
	allowed, refused := 0, 0
	eventually(t, "all servers refuse the network", func() bool {
		refused = 0
		for _, one := range all {
			for range 5 {
				d, _ := one.Take(t.Context(), Cast, who)
				if d.Allowed {
					allowed++
					continue
				}
				refused++
				if d.Limit.Name != "cast-network" || d.RetryAfter <= 0 || d.RetryAfter > time.Minute || d.Remaining != 0 {
					t.Errorf("%+v", d)
				}
			}
		}
		return refused == 3*5
	})
	// An eighth at each server is not told, and some are allowed before the answer is there.
	if allowed < 300 || allowed > 600 {
		t.Errorf("%d casts were allowed, of 300", allowed)
	}
	for i, one := range all {
		if d, _ := one.Take(t.Context(), Cast, voter(2)); !d.Allowed {
			t.Errorf("server %d refuses another network", i)
		}
	}
	if len(all[0].untold) > 0 {
		t.Errorf("Redis is to be told of %d who cast once", len(all[0].untold))
	}
}

// TestWithoutRedisEachHasASmallBudget kills and freezes the Redis under load, and starts it again, empty or elsewhere.
func TestWithoutRedisEachHasASmallBudget(t *testing.T) {
	another := redistest.Start(t).Addr()
	for how, fault := range map[string]struct {
		begin, end func(*redistest.Server)
		moved      string
	}{
		"killed": {(*redistest.Server).Kill, (*redistest.Server).Start, ""},
		"frozen": {(*redistest.Server).Pause, (*redistest.Server).Resume, ""},
		"moved":  {(*redistest.Server).Kill, func(*redistest.Server) {}, another},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			all, at := serversThatMove(t, server, 2, Config{
				Override: map[string]Rate{"send-global-alone": {Count: 30, Window: time.Hour}},
				Polls:    map[string]map[string]Rate{"small": {"send-phone-alone": {Count: 1, Window: time.Hour}}},
			})
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
			waiting(all, 200*time.Millisecond)
			// Sending: 3 to a phone and 30 in all, at each server; not one more, and not none.
			for _, one := range all {
				eventually(t, "the server knows", func() bool {
					one.Take(t.Context(), Check, voter(10_002))
					return one.away.Load()
				})
			}
			waiting(all, slow)
			if n := storm(t, all, Send, voter(10_003), 20); n != 2*3 {
				t.Errorf("%s: %d sendings to one phone, want 3 at each of 2 servers", how, n)
			}
			if n := storm(t, all, Verify, voter(10_007), 20); n != 2*4 {
				t.Errorf("%s: one phone proved %d sessions, want 4 at each of 2 servers", how, n)
			}
			for range 5 { // asked for too soon, or taken by no provider
				if d, _ := all[0].Take(t.Context(), Send, voter(10_006)); !d.Allowed {
					t.Errorf("%s: what came to nothing was counted: %+v", how, d)
				}
				all[0].Return(t.Context(), Send, voter(10_006))
			}
			small := voter(10_008)
			small.Poll = "small"
			if n := storm(t, all, Send, small, 20); n != 2*1 {
				t.Errorf("%s: %d sendings to one phone of a poll that allows 1 at each of 2 servers", how, n)
			}
			sent := 0
			for i := range 100 {
				sent += storm(t, all, Send, voter(11_000+i), 1)
			}
			if sent != 2*(30-3-1) {
				t.Errorf("%s: %d sendings to many phones, want %d", how, sent, 2*26)
			}
			if n := storm(t, all, Check, voter(10_004), 20); n != 2*10 {
				t.Errorf("%s: %d tries for one phone, want 10 at each of 2 servers", how, n)
			}
			fault.end(server)
			if fault.moved != "" {
				at.Store(&fault.moved)
			}
			joined(t, all)
			if n := storm(t, all, Send, voter(10_005), 20); n != 8 {
				t.Errorf("afterwards: %d sendings to one phone, want 8", n)
			}
			close(stop)
			load.Wait()
		})
	}
}

// TestTheServerHoldsNoNames looks at all that Redis holds of somebody busy: counters that end.
func TestTheServerHoldsNoNames(t *testing.T) {
	few := map[string]Rate{}
	for _, l := range Table {
		few[l.Name] = Rate{Count: 4, Window: time.Hour}
	}
	one := servers(t, redistest.Start(t), 1, few)[0]
	for _, action := range []Action{Challenge, Captcha, Attempt, Session, Send, Check, Verify, Wait, Cast, Download, Report} {
		one.Take(t.Context(), action, voter(1))
	}
	var names []string
	eventually(t, "all is told", func() bool {
		names, _ = one.redis.Client().Keys(t.Context(), "*").Result()
		return len(names) == len(Table)
	})
	for _, name := range names {
		hash, ours := strings.CutPrefix(name, "rate:popvote:limit:")
		if ttl := one.redis.Client().TTL(t.Context(), name).Val(); !ours || len(hash) != 22 || ttl <= 0 || ttl > time.Hour {
			t.Errorf("%s ends in %v", name, ttl)
		}
	}
}

// TestWhomRedisIsToldOfIsBounded in a flood from everywhere.
func TestWhomRedisIsToldOfIsBounded(t *testing.T) {
	one := quiet(t, Config{Override: map[string]Rate{"cast-voter": {Count: 1, Window: time.Hour}}})
	for i := range tellAtMost + 10 {
		one.Take(t.Context(), Cast, voter(i))
	}
	if n, missed := len(one.untold), one.missed.Load(); n != tellAtMost || missed != 10 {
		t.Errorf("of %d, and not of %d", n, missed)
	}
	one.away.Store(true)
	one.Take(t.Context(), Cast, voter(tellAtMost+10))
	if missed := one.missed.Load(); missed != 11 {
		t.Errorf("while it is away, not of %d", missed)
	}
}

// quiet is a Shared that takes note of what Redis is to be told, and tells nobody.
func quiet(t *testing.T, c Config) *Shared {
	t.Helper()
	local, err := NewLocal(c, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return &Shared{local: local, untold: map[uint64]*count{}}
}

// TestTheHotPathStaysClean: no limiter leaves garbage on the way of a cast, of somebody busy neither.
func TestTheHotPathStaysClean(t *testing.T) {
	local, err := NewLocal(Config{Scale: 1e6}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	busy := quiet(t, Config{Override: map[string]Rate{"cast-voter": {Count: 10_000, Window: time.Hour}, "cast-network": {Count: 10_000, Window: time.Hour}}})
	for range 2000 {
		busy.Take(t.Context(), Cast, voter(1))
	}
	if len(busy.untold) != 2 {
		t.Errorf("the busy voter is so in %d limits", len(busy.untold))
	}
	for name, one := range map[string]Limiter{"local": local, "shared": quiet(t, Config{Scale: 1e6}), "busy": busy} {
		if n := testing.AllocsPerRun(1000, func() { one.Take(t.Context(), Cast, voter(1)) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

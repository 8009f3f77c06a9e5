package verification

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/popvote/popvote/libs/cloudredis"
	"github.com/popvote/popvote/libs/discovery"
	"github.com/popvote/popvote/libs/redistest"
)

// clock is moved by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time // guarded by mu
}

func newClock() *clock { return &clock{now: time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// bench is a board, and how to let time pass for it.
type bench struct {
	Board
	*clock
	pass func(d time.Duration)
	// waiters counts the keys that are waited for.
	waiters func() int
}

// onEach runs a test of what every Board does on both.
func onEach(t *testing.T, test func(t *testing.T, b bench)) {
	t.Run("memory", func(t *testing.T) { test(t, inMemory()) })
	t.Run("redis", func(t *testing.T) { test(t, onRedis(t)) })
}

func inMemory() bench {
	c := newClock()
	m := NewMemory(c.Now)
	return bench{Board: m, clock: c, pass: c.move, waiters: func() int {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.waiting)
	}}
}

func onRedis(t *testing.T) bench {
	t.Helper()
	c := newClock()
	r := dial(t, redistest.Start(t), c.Now)
	return bench{Board: r, clock: c, waiters: func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.waiting)
	}, pass: func(d time.Duration) {
		c.move(d)
		age(t.Context(), t.Fatalf, r, d)
	}}
}

// patient is for a busy machine: only a Redis that is gone is to be away.
var patient = cloudredis.Access{Timeout: 5 * time.Second}

func dial(t *testing.T, s *redistest.Server, now func() time.Time) *Redis {
	t.Helper()
	return open(t, RedisConfig{Link: linkTo(t, patient, s.Addr())}, now)
}

func open(t *testing.T, c RedisConfig, now func() time.Time) *Redis {
	t.Helper()
	r := NewRedis(c, RedisDeps{Clock: now, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(r.Close)
	return r
}

func linkTo(t *testing.T, access cloudredis.Access, address string) *cloudredis.Link {
	t.Helper()
	l := cloudredis.NewLink(cloudredis.Config{Access: access, Finder: at(address)})
	t.Cleanup(func() { l.Close() })
	return l
}

// places are where Redis is found; a test changes them.
type places struct {
	mu    sync.Mutex
	found []discovery.Instance // guarded by mu
}

func at(addresses ...string) *places {
	p := &places{}
	p.become(addresses...)
	return p
}

func (p *places) Find(string) []discovery.Instance {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.found)
}

func (p *places) become(addresses ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.found = nil
	for _, address := range addresses {
		p.found = append(p.found, discovery.Instance{Address: address})
	}
}

// age brings the end of every record on the server nearer, as if time had passed.
func age(ctx context.Context, fatalf func(string, ...any), r *Redis, d time.Duration) {
	names, err := r.link.Client().Keys(ctx, "*").Result()
	if err != nil {
		fatalf("%v", err)
	}
	for _, name := range names {
		left, err := r.link.Client().PTTL(ctx, name).Result()
		if err == nil && left > d {
			err = r.link.Client().PExpire(ctx, name, left-d).Err()
		} else if err == nil {
			err = r.link.Client().Del(ctx, name).Err()
		}
		if err != nil {
			fatalf("%v", err)
		}
	}
}

// await waits until the context ends.
func await(ctx context.Context, b Board, key Key) (time.Time, error) {
	news, stop, err := b.Watch(ctx, key)
	if err != nil {
		return time.Time{}, err
	}
	defer stop()
	select {
	case got := <-news:
		return got.At, got.Err
	default: // what is there counts, however late it is
	}
	select {
	case got := <-news:
		return got.At, got.Err
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	}
}

// await waits for as long as a slow machine may take.
func (b bench) await(t *testing.T, key Key) time.Time {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	at, err := await(ctx, b, key)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// silent says that nothing was heard.
func (b bench) silent(t *testing.T, key Key) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if at, err := await(ctx, b, key); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("heard at %v: %v", at, err)
	}
}

func TestWhoWaitsIsWokenAndWhoComesLateFinds(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		key, at := Key{1}, b.Now()
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				if got, err := await(t.Context(), b, key); err != nil || !got.Equal(at) {
					t.Errorf("%v, %v", got, err)
				}
			})
		}
		for b.waiters() == 0 {
			time.Sleep(time.Millisecond)
		}
		if err := b.Heard(t.Context(), key, at, time.Minute); err != nil {
			t.Fatal(err)
		}
		group.Wait()
		b.pass(time.Second)
		if err := b.Heard(t.Context(), key, b.Now(), time.Hour); err != nil {
			t.Fatal(err)
		}
		if late := b.await(t, key); !late.Equal(at) {
			t.Errorf("heard at %v, want the first time, %v", late, at)
		}
		b.silent(t, Key{2})
		b.pass(time.Minute)
		b.silent(t, key)
		if n := b.waiters(); n != 0 {
			t.Errorf("%d keys are still waited for", n)
		}
	})
}

// TestNothingFallsBetween hears and gives up at the same moment, many times: either is reported,
// never neither.
func TestNothingFallsBetween(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		for i := range 500 {
			key := Key{byte(i), byte(i >> 8)}
			ctx, cancel := context.WithCancel(t.Context())
			var group sync.WaitGroup
			group.Go(func() { b.Heard(t.Context(), key, b.Now(), time.Minute) })
			group.Go(cancel)
			_, err := await(ctx, b, key)
			group.Wait()
			if err != nil {
				b.await(t, key)
			}
		}
		if n := b.waiters(); n != 0 {
			t.Errorf("%d keys are still waited for", n)
		}
	})
}

var rules = CodeLimits{Tries: 5, SendDelays: []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute}, CheckDelay: time.Second, TTL: 10 * time.Minute}

func TestFourSendingsWithGrowingWaits(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		next := func(want CodeResult, nextSend time.Duration) {
			t.Helper()
			got, err := b.NewCode(t.Context(), "s", [32]byte{1}, rules, b.Now())
			if err != nil || got.Result != want || got.NextSend != nextSend {
				t.Fatalf("%+v, %v; want %s and %v", got, err, want, nextSend)
			}
		}
		next(Accepted, 30*time.Second)
		b.pass(29 * time.Second)
		next(TooSoon, time.Second)
		b.pass(time.Second)
		next(Accepted, time.Minute)
		b.pass(time.Minute)
		next(Accepted, 2*time.Minute)
		b.pass(2 * time.Minute)
		next(Accepted, -1)
		b.pass(time.Minute)
		next(Exhausted, -1)
	})
}

// TestASendingThatComesAfterOthers: what costs more is not had first, and refusing it counts for nothing.
func TestASendingThatComesAfterOthers(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		later := rules
		later.After = 2
		for sends, limits := range []CodeLimits{rules, rules, later} {
			if sends < later.After {
				got, err := b.NewCode(t.Context(), "s", [32]byte{1}, later, b.Now())
				if err != nil || got.Result != TooSoon || got.Sends != sends {
					t.Fatalf("after %d: %+v, %v", sends, got, err)
				}
			}
			got, err := b.NewCode(t.Context(), "s", [32]byte{1}, limits, b.Now())
			if err != nil || got.Result != Accepted || got.Sends != sends+1 {
				t.Fatalf("sending %d: %+v, %v", sends, got, err)
			}
			b.pass(2 * time.Minute)
		}
	})
}

func TestFiveTriesAndOneUse(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		right, wrong := [32]byte{1}, [32]byte{2}
		try := func(session string, mac [32]byte, want CodeResult, left int) {
			t.Helper()
			got, err := b.TryCode(t.Context(), session, mac, b.Now())
			if err != nil || got.Result != want || got.TriesLeft != left {
				t.Fatalf("%+v, %v; want %s and %d", got, err, want, left)
			}
		}
		send := func(session string) { b.NewCode(t.Context(), session, right, rules, b.Now()) }
		try("nobody", right, NoCode, 0)
		send("a")
		for left := 4; left >= 0; left-- {
			try("a", wrong, Wrong, left)
			if left > 0 {
				try("a", wrong, TooSoon, left)
			}
			b.pass(time.Second)
		}
		try("a", right, Exhausted, 0)
		b.pass(30 * time.Second)
		send("a")
		try("a", right, Right, 4)
		b.pass(time.Second)
		try("a", right, NoCode, 4)
		send("b")
		b.pass(rules.TTL)
		try("b", right, NoCode, 0)
	})
}

func TestASendingThatWasNone(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		ctx, mac := t.Context(), [32]byte{1}
		for range 10 { // no provider at all: the first sending stays the first
			if got, _ := b.NewCode(ctx, "s", mac, rules, b.Now()); got.Result != Accepted {
				t.Fatalf("%+v", got)
			}
			if err := b.Unsent(ctx, "s"); err != nil {
				t.Fatal(err)
			}
		}
		if got, _ := b.TryCode(ctx, "s", mac, b.Now()); got.Result != NoCode {
			t.Errorf("a code that was never sent is %s", got.Result)
		}
		b.NewCode(ctx, "s", mac, rules, b.Now())
		b.TryCode(ctx, "s", [32]byte{9}, b.Now())
		b.pass(30 * time.Second)
		b.NewCode(ctx, "s", [32]byte{2}, rules, b.Now())
		b.Unsent(ctx, "s")
		b.Unsent(ctx, "s")
		if got, _ := b.TryCode(ctx, "s", mac, b.Now()); got.Result != Right || got.TriesLeft != 3 {
			t.Errorf("the code before it: %+v", got)
		}
	})
}

// TestOnlyFiveOfManyTriesAtOnceAreCompared: guessing in parallel is worth no more than one by one.
func TestOnlyFiveOfManyTriesAtOnceAreCompared(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		quick := rules
		quick.CheckDelay = 0
		if _, err := b.NewCode(t.Context(), "s", [32]byte{1}, quick, b.Now()); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		results := map[CodeResult]int{}
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				got, err := b.TryCode(t.Context(), "s", [32]byte{2}, b.Now())
				if err != nil && !errors.Is(err, ErrBusy) {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					results[got.Result]++
				}
			})
		}
		group.Wait()
		if results[Wrong] > 5 || len(results) > 2 || results[Exhausted] == 0 {
			t.Errorf("%v, want at most 5 wrong and the others refused", results)
		}
		if got, err := b.TryCode(t.Context(), "s", [32]byte{1}, b.Now()); err != nil || got.Result != Exhausted {
			t.Errorf("the right code afterwards: %+v, %v", got, err)
		}
	})
}

func TestSpentOnce(t *testing.T) {
	onEach(t, func(t *testing.T, b bench) {
		var fresh sync.Map
		var group sync.WaitGroup
		for i := range 100 {
			group.Go(func() {
				if ok, err := b.Spend(t.Context(), "id", time.Minute); err != nil {
					t.Error(err)
				} else if ok {
					fresh.Store(i, true)
				}
			})
		}
		group.Wait()
		n := 0
		fresh.Range(func(any, any) bool { n++; return true })
		if n != 1 {
			t.Errorf("spent %d times", n)
		}
		for id, want := range map[string]bool{"id": true, "another": false} {
			if is, err := b.Spent(t.Context(), id); is != want || err != nil {
				t.Errorf("%s: spent %v, %v", id, is, err)
			}
		}
		b.pass(time.Minute)
		if is, _ := b.Spent(t.Context(), "id"); is {
			t.Error("known as spent after its time")
		}
		if ok, _ := b.Spend(t.Context(), "another", time.Minute); !ok {
			t.Error("asking spends")
		}
		if ok, _ := b.Spend(t.Context(), "id", time.Minute); !ok {
			t.Error("still spent after its time")
		}
	})
}

// TestTheTwoBoardsAreTwins lets both go through the same random calls, and compares every answer.
func TestTheTwoBoardsAreTwins(t *testing.T) {
	server := redistest.Start(t)
	c := newClock()
	r := dial(t, server, c.Now)
	rapid.Check(t, func(t *rapid.T) {
		if err := r.link.Client().FlushAll(context.Background()).Err(); err != nil {
			t.Fatal(err)
		}
		m := NewMemory(c.Now)
		limits := CodeLimits{
			Tries:      rapid.IntRange(1, 3).Draw(t, "tries"),
			SendDelays: []time.Duration{5 * time.Second, 10 * time.Second},
			CheckDelay: time.Duration(rapid.IntRange(0, 2).Draw(t, "check delay")) * time.Second,
			TTL:        20 * time.Second,
		}
		session := rapid.SampledFrom([]string{"a", "b"})
		seconds := rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.IntRange(1, 12).Draw(t, "seconds")) * time.Second
		})
		mac := rapid.Custom(func(t *rapid.T) [32]byte { return [32]byte{byte(rapid.IntRange(1, 2).Draw(t, "mac"))} })
		key := rapid.Custom(func(t *rapid.T) Key { return Key{byte(rapid.IntRange(0, 2).Draw(t, "key"))} })
		same := func(what string, a, b any, errs ...error) {
			if err := errors.Join(errs...); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if fmt.Sprint(a) != fmt.Sprint(b) {
				t.Fatalf("%s: %v in memory, %v on Redis", what, a, b)
			}
		}
		ctx := context.Background()
		t.Repeat(map[string]func(*rapid.T){
			"time passes": func(t *rapid.T) {
				d := seconds.Draw(t, "for")
				c.move(d)
				age(ctx, t.Fatalf, r, d)
			},
			"NewCode": func(t *rapid.T) {
				s, code := session.Draw(t, "session"), mac.Draw(t, "code")
				a, errA := m.NewCode(ctx, s, code, limits, c.Now())
				b, errB := r.NewCode(ctx, s, code, limits, c.Now())
				same("NewCode", a, b, errA, errB)
			},
			"Unsent": func(t *rapid.T) {
				s := session.Draw(t, "session")
				same("Unsent", nil, nil, m.Unsent(ctx, s), r.Unsent(ctx, s))
			},
			"TryCode": func(t *rapid.T) {
				s, code := session.Draw(t, "session"), mac.Draw(t, "code")
				a, errA := m.TryCode(ctx, s, code, c.Now())
				b, errB := r.TryCode(ctx, s, code, c.Now())
				same("TryCode", a, b, errA, errB)
			},
			"Spend": func(t *rapid.T) {
				s, ttl := session.Draw(t, "id"), seconds.Draw(t, "ttl")
				a, errA := m.Spend(ctx, s, ttl)
				b, errB := r.Spend(ctx, s, ttl)
				same("Spend", a, b, errA, errB)
			},
			"Spent": func(t *rapid.T) {
				s := session.Draw(t, "id")
				a, errA := m.Spent(ctx, s)
				b, errB := r.Spent(ctx, s)
				same("Spent", a, b, errA, errB)
			},
			"Heard": func(t *rapid.T) {
				k, ttl := key.Draw(t, "key"), seconds.Draw(t, "ttl")
				same("Heard", nil, nil, m.Heard(ctx, k, c.Now(), ttl), r.Heard(ctx, k, c.Now(), ttl))
			},
			"Watch": func(t *rapid.T) {
				k := key.Draw(t, "key")
				over, cancel := context.WithCancel(ctx)
				cancel()
				a, errA := await(over, m, k)
				if errA != nil {
					// A wait that ends by itself would cost time: the server is asked whether it knows better.
					if n := r.link.Client().Exists(ctx, heardName(k)).Val(); n != 0 {
						t.Fatal("heard on Redis, not in memory")
					}
					return
				}
				b, errB := await(ctx, r, k)
				same("Watch", a.UnixNano(), b.UnixNano(), errB)
			},
		})
	})
}

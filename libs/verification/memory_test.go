package verification

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/popvote/popvote/libs/sms"
)

func TestWhoWaitsIsWokenAndWhoComesLateFinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(time.Now)
		key := Key{1}
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				if at, err := m.Await(t.Context(), key); err != nil || at.IsZero() {
					t.Errorf("%v, %v", at, err)
				}
			})
		}
		synctest.Wait()
		at := time.Now()
		if err := m.Heard(t.Context(), key, at, time.Minute); err != nil {
			t.Fatal(err)
		}
		group.Wait()
		time.Sleep(time.Second)
		if err := m.Heard(t.Context(), key, time.Now(), time.Hour); err != nil {
			t.Fatal(err)
		}
		if late, err := m.Await(t.Context(), key); err != nil || !late.Equal(at) {
			t.Errorf("heard at %v (%v), want the first time, %v", late, err, at)
		}
		time.Sleep(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := m.Await(ctx, key); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after its time: %v", err)
		}
		if len(m.waiting) != 0 {
			t.Errorf("%d keys are still waited for", len(m.waiting))
		}
	})
}

// TestNothingFallsBetween hears and gives up at the same moment, many times: either is reported,
// never neither.
func TestNothingFallsBetween(t *testing.T) {
	m := NewMemory(time.Now)
	for i := range 2000 {
		key := Key{byte(i), byte(i >> 8)}
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { m.Heard(ctx, key, time.Now(), time.Minute) })
		group.Go(cancel)
		_, err := m.Await(ctx, key)
		group.Wait()
		if err == nil {
			continue
		}
		if at, err := m.Await(t.Context(), key); err != nil || at.IsZero() {
			t.Fatalf("the SMS is lost: %v", err)
		}
	}
	if len(m.waiting) != 0 {
		t.Errorf("%d keys are still waited for", len(m.waiting))
	}
}

var rules = CodeLimits{Tries: 5, SendDelays: []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute}, CheckDelay: time.Second, TTL: 10 * time.Minute}

func TestFourSendingsWithGrowingWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(time.Now)
		next := func(want CodeResult, nextSend time.Duration) {
			t.Helper()
			got, err := m.NewCode(t.Context(), "s", [32]byte{1}, rules, time.Now())
			if err != nil || got.Result != want || got.NextSend != nextSend {
				t.Fatalf("%+v, %v; want %s and %v", got, err, want, nextSend)
			}
		}
		next(Accepted, 30*time.Second)
		time.Sleep(29 * time.Second)
		next(TooSoon, time.Second)
		time.Sleep(time.Second)
		next(Accepted, time.Minute)
		time.Sleep(time.Minute)
		next(Accepted, 2*time.Minute)
		time.Sleep(2 * time.Minute)
		next(Accepted, -1)
		time.Sleep(time.Minute)
		next(Exhausted, -1)
	})
}

func TestFiveTriesAndOneUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(time.Now)
		right, wrong := [32]byte{1}, [32]byte{2}
		try := func(session string, mac [32]byte, want CodeResult, left int) {
			t.Helper()
			got, err := m.TryCode(t.Context(), session, mac, time.Now())
			if err != nil || got.Result != want || got.TriesLeft != left {
				t.Fatalf("%+v, %v; want %s and %d", got, err, want, left)
			}
		}
		send := func(session string) { m.NewCode(t.Context(), session, right, rules, time.Now()) }
		try("nobody", right, NoCode, 0)
		send("a")
		for left := 4; left >= 0; left-- {
			try("a", wrong, Wrong, left)
			if left > 0 {
				try("a", wrong, TooSoon, left)
			}
			time.Sleep(time.Second)
		}
		try("a", right, Exhausted, 0)
		time.Sleep(30 * time.Second)
		send("a")
		try("a", right, Right, 4)
		time.Sleep(time.Second)
		try("a", right, NoCode, 4)
		send("b")
		time.Sleep(rules.TTL)
		try("b", right, NoCode, 0)
	})
}

func TestASendingThatWasNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(time.Now)
		ctx, mac := t.Context(), [32]byte{1}
		for range 10 { // no provider at all: the first sending stays the first
			if got, _ := m.NewCode(ctx, "s", mac, rules, time.Now()); got.Result != Accepted {
				t.Fatalf("%+v", got)
			}
			if err := m.Unsent(ctx, "s"); err != nil {
				t.Fatal(err)
			}
		}
		if got, _ := m.TryCode(ctx, "s", mac, time.Now()); got.Result != NoCode {
			t.Errorf("a code that was never sent is %s", got.Result)
		}
		m.NewCode(ctx, "s", mac, rules, time.Now())
		m.TryCode(ctx, "s", [32]byte{9}, time.Now())
		time.Sleep(30 * time.Second)
		m.NewCode(ctx, "s", [32]byte{2}, rules, time.Now())
		m.Unsent(ctx, "s")
		m.Unsent(ctx, "s")
		if got, _ := m.TryCode(ctx, "s", mac, time.Now()); got.Result != Right || got.TriesLeft != 3 {
			t.Errorf("the code before it: %+v", got)
		}
	})
}

func TestSpentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(time.Now)
		var fresh sync.Map
		var group sync.WaitGroup
		for i := range 100 {
			group.Go(func() {
				if ok, err := m.Spend(t.Context(), "id", time.Minute); err != nil {
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
		time.Sleep(time.Minute)
		if ok, _ := m.Spend(t.Context(), "id", time.Minute); !ok {
			t.Error("still spent after its time")
		}
	})
}

// TestTheMapOfThingsThatEnd holds the bounded map to a plain model.
func TestTheMapOfThingsThatEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const bound = 8
		e := newExpiring[string, int](bound)
		ends := map[string]time.Time{}
		now := time.Unix(0, 0)
		for i := range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "wait")) * time.Second)
			key := fmt.Sprint(rapid.IntRange(0, 20).Draw(t, "key"))
			if rapid.Bool().Draw(t, "put") {
				ends[key] = now.Add(time.Duration(rapid.IntRange(1, 10).Draw(t, "ttl")) * time.Second)
				e.put(key, i, ends[key], now)
			} else if _, ok := e.get(key, now); ok && !now.Before(ends[key]) {
				t.Fatalf("%s is there after its end", key)
			}
			if len(e.entries) > bound || len(e.entries) != len(e.order) {
				t.Fatalf("%d entries, %d in order", len(e.entries), len(e.order))
			}
			living := 0
			for _, end := range ends {
				if now.Before(end) {
					living++
				}
			}
			if living <= 1 && len(ends) > 0 && now.Before(ends[key]) {
				if _, ok := e.get(key, now); !ok {
					t.Fatalf("%s is gone before its end, with room to spare", key)
				}
			}
			for place, entry := range e.order {
				if entry.place != place || e.entries[entry.key] != entry {
					t.Fatal("the order and the map differ")
				}
			}
		}
	})
}

func TestKeysBindSenderAndText(t *testing.T) {
	secret := [32]byte{1}
	key := KeyOf(secret, "+85291234567", "VOTE 7ZK49QWE")
	for _, other := range []Key{
		KeyOf(secret, "+85291234568", "VOTE 7ZK49QWE"),
		KeyOf(secret, "+85291234567", "VOTE 7ZK49QWF"),
		KeyOf([32]byte{2}, "+85291234567", "VOTE 7ZK49QWE"),
		KeyOf(secret, sms.Number("+85291234567\x00VOTE"), " 7ZK49QWE"),
	} {
		if key == other {
			t.Error("two of them have one key")
		}
	}
	text, err := key.MarshalText()
	var back Key
	if err != nil || back.UnmarshalText(text) != nil || back != key {
		t.Errorf("%s, %v", text, err)
	}
	if back.UnmarshalText([]byte("short")) == nil {
		t.Error("a short key is read")
	}
}

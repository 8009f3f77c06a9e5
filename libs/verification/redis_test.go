package verification

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/cloudredis"
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

func (r *Redis) waiters() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, w := range r.waiting {
		n += len(w)
	}
	return n
}

func keyOf(i int) Key { return Key{byte(i), byte(i >> 8), 7} }

// TestARestartLosesNoEvent kills the server under 200 waiters. What is heard as soon as it is back,
// before or after anybody listens again, reaches everybody.
func TestARestartLosesNoEvent(t *testing.T) {
	server := redistest.Start(t)
	waiting, gateway := dial(t, server, time.Now), dial(t, server, time.Now)
	const n = 200
	at := time.Now()
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if got, err := await(ctx, waiting, keyOf(i)); err != nil || !got.Equal(at) {
				t.Errorf("waiter %d: %v, %v", i, got, err)
			}
		})
	}
	eventually(t, "all wait", func() bool { return waiting.waiters() == n })
	for i := range n {
		if i == n/2 {
			// What the server took in its last moment dies with it: those voters text again.
			eventually(t, "the first half is told", func() bool { return waiting.waiters() == n/2 })
			server.Kill()
			if err := gateway.Heard(t.Context(), keyOf(i), at, time.Minute); !errors.Is(err, ErrAway) {
				t.Errorf("heard by nobody: %v", err)
			}
			server.Start()
		}
		if err := gateway.Heard(t.Context(), keyOf(i), at, time.Minute); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
	group.Wait()
	if n := waiting.waiters(); n != 0 {
		t.Errorf("%d still wait", n)
	}
	eventually(t, "healthy", func() bool { return waiting.Health(t.Context()) == nil })
}

// TestWhoWaitsBeforeTheSubscriptionIsThereIsTold registers a waiter of a board whose subscription
// cannot be there yet, and hears its SMS before that either.
func TestWhoWaitsBeforeTheSubscriptionIsThereIsTold(t *testing.T) {
	server := redistest.Start(t)
	gateway := dial(t, server, time.Now)
	for i := range 20 {
		at := time.Now()
		late := dial(t, server, time.Now)
		told := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := await(ctx, late, keyOf(i))
			told <- err
		}()
		if err := gateway.Heard(t.Context(), keyOf(i), at, time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := <-told; err != nil {
			t.Fatal(err)
		}
	}
}

// TestALostNoticeIsMadeUpFor writes the state as a gateway that dies before its notice would, which
// only a fresh subscription finds.
func TestALostNoticeIsMadeUpFor(t *testing.T) {
	server := redistest.Start(t)
	r := dial(t, server, time.Now)
	told := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		_, err := await(ctx, r, keyOf(1))
		told <- err
	}()
	eventually(t, "it waits, and listens", func() bool { return r.waiters() == 1 && r.Health(t.Context()) == nil })
	if err := r.link.Client().Set(t.Context(), heardName(keyOf(1)), time.Now().UnixNano(), time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	if err := r.link.Client().Do(t.Context(), "client", "kill", "type", "pubsub").Err(); err != nil {
		t.Fatal(err)
	}
	if err := <-told; err != nil {
		t.Fatal(err)
	}
}

// TestOneConnectionListensHoweverManyWait counts the server's own view.
func TestOneConnectionListensHoweverManyWait(t *testing.T) {
	server := redistest.Start(t)
	r := dial(t, server, time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for i := range 200 {
		group.Go(func() {
			if _, err := await(ctx, r, keyOf(i)); !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
		})
	}
	eventually(t, "all wait", func() bool { return r.waiters() == 200 && r.Health(t.Context()) == nil })
	list, err := r.link.Client().Do(t.Context(), "client", "list", "type", "pubsub").Text()
	if n := strings.Count(list, "sub=16"); err != nil || n != 1 || strings.Count(list, "\n") != 1 {
		t.Errorf("%d subscriptions (%v):\n%s", n, err, list)
	}
	cancel()
	group.Wait()
}

// TestAFrozenServerAnswersNobodyForLong: every call comes to ErrAway within its timeout, those who
// wait within the board's patience, and afterwards everything works again.
func TestAFrozenServerAnswersNobodyForLong(t *testing.T) {
	server := redistest.Start(t)
	link := linkTo(t, cloudredis.Access{Timeout: 300 * time.Millisecond}, server.Addr())
	r := open(t, RedisConfig{Link: link, Patience: time.Second}, time.Now)
	eventually(t, "healthy", func() bool { return r.Health(t.Context()) == nil })
	told := make(chan error, 1)
	go func() {
		_, err := await(t.Context(), r, keyOf(1))
		told <- err
	}()
	eventually(t, "it waits", func() bool { return r.waiters() == 1 })

	server.Pause()
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"Heard":   func() error { return r.Heard(ctx, keyOf(2), time.Now(), time.Minute) },
		"Watch":   func() error { _, err := await(ctx, r, keyOf(2)); return err },
		"NewCode": func() error { _, err := r.NewCode(ctx, "s", [32]byte{1}, rules, time.Now()); return err },
		"Unsent":  func() error { return r.Unsent(ctx, "s") },
		"TryCode": func() error { _, err := r.TryCode(ctx, "s", [32]byte{1}, time.Now()); return err },
		"Spend":   func() error { _, err := r.Spend(ctx, "s", time.Minute); return err },
		"Spent":   func() error { _, err := r.Spent(ctx, "s"); return err },
		"Health":  func() error { return r.Health(ctx) },
	} {
		begun := time.Now()
		if err := call(); !errors.Is(err, ErrAway) || time.Since(begun) > 3*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(begun))
		}
	}
	select {
	case err := <-told:
		if !errors.Is(err, ErrAway) {
			t.Errorf("who waited: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("who waited still does")
	}
	server.Resume()
	eventually(t, "healthy again", func() bool { return r.Health(t.Context()) == nil })
	if ok, err := r.Spend(ctx, "another", time.Minute); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}

// TestEveryRecordEndsAndSaysNothing looks at all that a server holds.
func TestEveryRecordEndsAndSaysNothing(t *testing.T) {
	r := dial(t, redistest.Start(t), time.Now)
	ctx := t.Context()
	const session = "session-id-that-opens-something"
	r.Heard(ctx, keyOf(1), time.Now(), time.Minute)
	r.NewCode(ctx, session, [32]byte{1}, rules, time.Now())
	r.TryCode(ctx, session, [32]byte{2}, time.Now())
	r.Unsent(ctx, session)
	r.NewCode(ctx, session+"2", [32]byte{1}, rules, time.Now())
	r.Spend(ctx, session, time.Minute)
	names, err := r.link.Client().Keys(ctx, "*").Result()
	if err != nil || len(names) != 4 {
		t.Fatalf("%d records, want 4: %v", len(names), err)
	}
	for _, name := range names {
		if left := r.link.Client().TTL(ctx, name).Val(); left <= 0 || left > rules.TTL {
			t.Errorf("%s ends in %v", name, left)
		}
		if value := r.link.Client().Get(ctx, name).Val(); strings.Contains(name+value, "session") {
			t.Errorf("%s names a session", name)
		}
	}
}

func TestAClosedBoardKeepsNobody(t *testing.T) {
	r := dial(t, redistest.Start(t), time.Now)
	told := make(chan error, 1)
	go func() {
		_, err := await(t.Context(), r, keyOf(1))
		told <- err
	}()
	eventually(t, "it waits", func() bool { return r.waiters() == 1 })
	r.Close()
	if err := <-told; !errors.Is(err, ErrAway) {
		t.Errorf("who waited: %v", err)
	}
	if _, err := await(t.Context(), r, keyOf(1)); !errors.Is(err, ErrAway) {
		t.Errorf("who comes later: %v", err)
	}
}

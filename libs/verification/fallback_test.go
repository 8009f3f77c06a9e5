package verification

import (
	"errors"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/cloudredis"
	"github.com/popvote/popvote/libs/redistest"
)

// fallback is the board of an API server in the cloud of a Redis, which is the only one.
func fallback(t *testing.T, server *redistest.Server, now func() time.Time) Fallback {
	t.Helper()
	homes := NewHomes(at(server.Addr()), cloudredis.Access{}, now)
	t.Cleanup(func() { homes.Close() })
	return NewFallback(dial(t, server, now), homes, now)
}

// TestWithoutRedisCodesAreSentAndTriesAreCounted follows one voter's session through a loss.
func TestWithoutRedisCodesAreSentAndTriesAreCounted(t *testing.T) {
	server, now := redistest.Start(t), newClock()
	here, there := fallback(t, server, now.Now), fallback(t, server, now.Now)
	eventually(t, "both listen", func() bool { return !here.Lost() && !there.Lost() })
	ctx, right, wrong := t.Context(), [32]byte{1}, [32]byte{2}
	try := func(f Fallback, mac [32]byte) CodeResult {
		t.Helper()
		now.move(rules.CheckDelay)
		state, err := f.TryCode(ctx, "s", mac, now.Now())
		if err != nil {
			t.Fatal(err)
		}
		return state.Result
	}
	send := func(f Fallback) CodeResult {
		t.Helper()
		state, err := f.NewCode(ctx, "s", right, rules, now.Now())
		if err != nil {
			t.Fatal(err)
		}
		return state.Result
	}
	if got := send(here); got != Accepted {
		t.Fatalf("sent: %s", got)
	}
	if got := try(there, wrong); got != Wrong {
		t.Fatalf("tried at the other server: %s", got)
	}

	server.Kill()
	eventually(t, "both know", func() bool { return here.Lost() && there.Lost() })
	// A code of which nobody can say how often it was tried is not tried.
	if _, err := here.TryCode(ctx, "s", right, now.Now()); !errors.Is(err, ErrAway) {
		t.Errorf("without its record: %v", err)
	}
	if got := send(here); got != Accepted {
		t.Fatalf("sent again: %s", got)
	}
	if got := send(here); got != TooSoon {
		t.Errorf("sent at once again: %s", got)
	}
	for range rules.Tries {
		if got := try(here, wrong); got != Wrong {
			t.Fatalf("tried here: %s", got)
		}
	}
	if got := try(here, right); got != Exhausted {
		t.Errorf("one try too many: %s", got)
	}
	if _, err := there.TryCode(ctx, "s", right, now.Now()); !errors.Is(err, ErrAway) {
		t.Errorf("at the server that sent nothing: %v", err)
	}

	server.Start()
	eventually(t, "both listen again", func() bool { return !here.Lost() && !there.Lost() })
	if got := try(here, right); got != Exhausted {
		t.Errorf("afterwards: %s", got)
	}
	if got := try(there, right); got != NoCode {
		t.Errorf("afterwards at the other: %s", got)
	}
	if got := send(here); got != Accepted {
		t.Fatalf("sent with Redis: %s", got)
	}
	if got := try(there, right); got != Right {
		t.Errorf("and tried at the other: %s", got)
	}
}

func TestWithoutRedisWorkIsSpentOnceHere(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := fallback(t, server, time.Now)
	eventually(t, "it listens", func() bool { return !f.Lost() })
	spend := func(id string, want bool) {
		t.Helper()
		if fresh, err := f.Spend(t.Context(), id, time.Minute); err != nil || fresh != want {
			t.Errorf("%s: %v, %v", id, fresh, err)
		}
	}
	spend("before", true)
	server.Pause() // what it doesn't answer is decided here
	spend("before", false)
	spend("meanwhile", true)
	spend("meanwhile", false)
	for id, want := range map[string]bool{"before": true, "meanwhile": true, "never": false} {
		if is, err := f.Spent(t.Context(), id); is != want || err != nil {
			t.Errorf("%s: spent %v, %v", id, is, err)
		}
	}
	server.Resume()
	eventually(t, "it answers", func() bool { return f.Health(t.Context()) == nil })
	spend("meanwhile", false)
	spend("before", false)
}

func TestASendingThatFailedIsTakenBackWhereItWasCounted(t *testing.T) {
	server, now := redistest.Start(t), newClock()
	f := fallback(t, server, now.Now)
	for _, redis := range []bool{true, false} {
		eventually(t, "it knows", func() bool { return f.Lost() != redis })
		for range 3 {
			state, err := f.NewCode(t.Context(), "s", [32]byte{1}, rules, now.Now())
			if err != nil || state.Result != Accepted {
				t.Fatalf("%+v, %v", state, err)
			}
			if err := f.Unsent(t.Context(), "s"); err != nil {
				t.Fatal(err)
			}
		}
		server.Kill()
	}
}

package verification

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/cloudredis"
	"github.com/popvote/popvote/libs/redistest"
)

// clouds are three Redis, with an API server's board on each and a gateway that writes to all.
type clouds struct {
	servers [3]*redistest.Server
	boards  [3]*Redis
	gateway *Everywhere
	// places are where the gateway finds them.
	places *places
}

func threeClouds(t *testing.T) *clouds {
	t.Helper()
	c := &clouds{}
	var addresses []string
	for i := range c.servers {
		c.servers[i] = redistest.Start(t)
		c.boards[i] = dial(t, c.servers[i], time.Now)
		addresses = append(addresses, c.servers[i].Addr())
	}
	c.places = at(addresses...)
	c.gateway = everywhere(t, c.places, patient, time.Now)
	eventually(t, "all clouds are there", func() bool { return c.gateway.Health(t.Context()) == nil })
	return c
}

func everywhere(t *testing.T, p *places, access cloudredis.Access, now func() time.Time) *Everywhere {
	t.Helper()
	e := NewEverywhere(p, access, RedisDeps{Clock: now, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(e.Close)
	return e
}

// told fails unless an API server of a cloud hears of every key from a number up to another.
func told(t *testing.T, board *Redis, from, to int, at time.Time) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for i := from; i < to; i++ {
		if got, err := await(ctx, board, keyOf(i)); err != nil || !got.Equal(at) {
			t.Fatalf("%d: %v, %v", i, got, err)
		}
	}
}

// TestALostCloudHoldsUpNoOther takes one of three Redis away while SMS come in. Each SMS is taken all the
// while, the other clouds' voters are told of each, and the lost one's of all, also of those before, as
// soon as it is back.
func TestALostCloudHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	for how, fault := range map[string]struct{ begin, end func(*redistest.Server) }{
		"killed, and back empty": {(*redistest.Server).Kill, (*redistest.Server).Start},
		"frozen":                 {(*redistest.Server).Pause, (*redistest.Server).Resume},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			c, at := threeClouds(t), time.Now()
			hear := func(from, to int) {
				t.Helper()
				var group sync.WaitGroup
				for i := from; i < to; i++ {
					group.Go(func() {
						if err := c.gateway.Heard(t.Context(), keyOf(i), at, 10*time.Minute); err != nil {
							t.Errorf("SMS %d: %v", i, err)
						}
					})
				}
				group.Wait()
			}
			hear(0, 700)
			for i := range c.boards {
				told(t, c.boards[i], 0, 700, at)
			}
			fault.begin(c.servers[1])
			for i := 700; i < 900; i += 20 {
				hear(i, i+20)
			}
			told(t, c.boards[0], 700, 900, at)
			told(t, c.boards[2], 700, 900, at)
			eventually(t, "the gateway says which is away", func() bool { return errors.Is(c.gateway.Health(t.Context()), ErrAway) })
			hear(900, 1000)
			fault.end(c.servers[1])
			eventually(t, "the cloud listens again", func() bool { return c.boards[1].Health(t.Context()) == nil })
			told(t, c.boards[1], 0, 1000, at)
			eventually(t, "all is well", func() bool { return c.gateway.Health(t.Context()) == nil })
		})
	}
}

// TestARedisThatWasEmptiedIsFilledAgain without having been missed: nothing was written while it was gone.
func TestARedisThatWasEmptiedIsFilledAgain(t *testing.T) {
	t.Parallel()
	c, at := threeClouds(t), time.Now()
	for i := range 3 {
		if err := c.gateway.Heard(t.Context(), keyOf(i), at, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	told(t, c.boards[0], 0, 3, at)
	if err := c.boards[0].link.Client().FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	// Who waits already is told, too.
	told(t, c.boards[0], 0, 3, at)
}

func TestWithAllCloudsLostTheProviderBringsItAgain(t *testing.T) {
	t.Parallel()
	c, at := threeClouds(t), time.Now()
	for _, s := range c.servers {
		s.Kill()
	}
	if err := c.gateway.Heard(t.Context(), keyOf(1), at, time.Minute); !errors.Is(err, ErrAway) {
		t.Errorf("heard by nobody: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.gateway.Heard(ended, keyOf(2), at, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("a provider that went: %v", err)
	}
	c.servers[2].Start()
	told(t, c.boards[2], 1, 3, at) // though nobody brought them again
	if err := c.gateway.Heard(t.Context(), keyOf(1), at, time.Minute); err != nil {
		t.Errorf("brought again: %v", err)
	}
	c.gateway.Close()
	if err := c.gateway.Heard(t.Context(), keyOf(1), at, time.Minute); !errors.Is(err, ErrAway) {
		t.Errorf("closed: %v", err)
	}
}

// TestWhatIsHeldIsBoundedAndEnds looks at a gateway whose only cloud is away.
func TestWhatIsHeldIsBoundedAndEnds(t *testing.T) {
	server, now := redistest.Start(t), newClock()
	server.Kill()
	e := everywhere(t, at(server.Addr()), cloudredis.Access{Timeout: time.Nanosecond}, now.Now)
	for i := range maxRecent + 10 {
		if err := e.Heard(t.Context(), Key{byte(i), byte(i >> 8), byte(i >> 16)}, now.Now(), time.Minute); !errors.Is(err, ErrAway) {
			t.Fatal(err)
		}
	}
	if records, next := e.since(0); len(records) != batch || records[0].key != (Key{10}) || next != 10+batch {
		t.Errorf("%d records, up to %d", len(records), next)
	}
	now.move(time.Minute)
	if records, next := e.since(0); len(records) != 0 || next != maxRecent+10 {
		t.Errorf("%d records are over, up to %d", len(records), next)
	}
}

// TestCloudsComeAndGo: a cloud's Redis that moves, or is new, has what was heard before.
func TestCloudsComeAndGo(t *testing.T) {
	t.Parallel()
	c, at := threeClouds(t), time.Now()
	first, second, third := c.servers[0].Addr(), c.servers[1].Addr(), c.servers[2].Addr()
	hear := func(i int) {
		t.Helper()
		if err := c.gateway.Heard(t.Context(), keyOf(i), at, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	c.places.become(first)
	eventually(t, "two are left alone", func() bool { return len(c.gateway.at()) == 1 })
	c.servers[1].Kill()
	c.servers[1].Start() // it knows nothing any more
	hear(1)
	told(t, c.boards[0], 1, 2, at)
	c.places.become(first, second, third)
	told(t, c.boards[1], 1, 2, at)
	told(t, c.boards[2], 1, 2, at)
	c.places.become()
	eventually(t, "it has nobody to tell", func() bool { return errors.Is(c.gateway.Health(t.Context()), cloudredis.ErrNone) })
	if err := c.gateway.Heard(t.Context(), keyOf(2), at, time.Minute); !errors.Is(err, ErrAway) {
		t.Errorf("heard by nobody: %v", err)
	}
	c.places.become(third)
	told(t, c.boards[2], 2, 3, at)
	hear(3)
	told(t, c.boards[2], 3, 4, at)
}

func (e *Everywhere) at() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Keys(e.boards))
}

// TestWhoWaitsFollowsTheRedis: a voter waits at a server whose cloud's Redis moves, and is told through the
// new one; the old one may still be there.
func TestWhoWaitsFollowsTheRedis(t *testing.T) {
	t.Parallel()
	from, to, at := redistest.Start(t), redistest.Start(t), at()
	link := cloudredis.NewLink(cloudredis.Config{Finder: at})
	t.Cleanup(func() { link.Close() })
	board := open(t, RedisConfig{Link: link, Patience: time.Minute}, time.Now)
	if _, err := await(t.Context(), board, keyOf(0)); !errors.Is(err, ErrAway) || !errors.Is(err, cloudredis.ErrNone) {
		t.Errorf("without any Redis: %v", err)
	}
	at.become(from.Addr())
	eventually(t, "it listens", func() bool { return board.Health(t.Context()) == nil })
	sent := time.Now()
	waited := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		got, err := await(ctx, board, keyOf(1))
		if err == nil && !got.Equal(sent) {
			err = fmt.Errorf("told of %v", got)
		}
		waited <- err
	}()
	eventually(t, "the voter waits", func() bool { return board.waiters() == 1 })
	at.become(to.Addr())
	if err := dial(t, to, time.Now).Heard(t.Context(), keyOf(1), sent, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Error(err)
	}
	at.become() // the last one is kept
	if fresh, err := board.Spend(t.Context(), "id", time.Minute); err != nil || !fresh {
		t.Errorf("%v, %v", fresh, err)
	}
}

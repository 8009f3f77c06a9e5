package verification

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/mtls/devca"
	"github.com/popvote/popvote/libs/redistest"
)

// clouds are three Redis, with an API server's board on each and a gateway that writes to all.
type clouds struct {
	servers [3]*redistest.Server
	boards  [3]*Redis
	gateway *Everywhere
}

func threeClouds(t *testing.T) *clouds {
	t.Helper()
	c := &clouds{}
	var configs []RedisConfig
	for i := range c.servers {
		c.servers[i] = redistest.Start(t)
		c.boards[i] = dial(t, c.servers[i], time.Now)
		configs = append(configs, RedisConfig{Address: c.servers[i].Addr(), Timeout: time.Second})
	}
	gateway, err := NewEverywhere(configs, RedisDeps{Clock: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gateway.Close() })
	c.gateway = gateway
	eventually(t, "all clouds are there", func() bool { return gateway.Health(t.Context()) == nil })
	return c
}

// told fails unless an API server of a cloud hears of every key from a number up to another.
func told(t *testing.T, board *Redis, from, to int, at time.Time) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for i := from; i < to; i++ {
		if got, err := board.Await(ctx, keyOf(i)); err != nil || !got.Equal(at) {
			t.Fatalf("%d: %v, %v", i, got, err)
		}
	}
}

// TestALostCloudHoldsUpNoOther takes one of three Redis away while SMS come in. Each SMS is taken all the
// while, the other clouds' voters are told of each, and the lost one's of all, also of those before, as
// soon as it is back.
func TestALostCloudHoldsUpNoOther(t *testing.T) {
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
	c, at := threeClouds(t), time.Now()
	for i := range 3 {
		if err := c.gateway.Heard(t.Context(), keyOf(i), at, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	told(t, c.boards[0], 0, 3, at)
	if err := c.boards[0].client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	// Who waits already is told, too.
	told(t, c.boards[0], 0, 3, at)
}

func TestWithAllCloudsLostTheProviderBringsItAgain(t *testing.T) {
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
	if err := c.gateway.Close(); err != nil {
		t.Error(err)
	}
	if err := c.gateway.Heard(t.Context(), keyOf(1), at, time.Minute); !errors.Is(err, ErrAway) {
		t.Errorf("closed: %v", err)
	}
}

// TestWhatIsHeldIsBoundedAndEnds looks at a gateway whose only cloud is away.
func TestWhatIsHeldIsBoundedAndEnds(t *testing.T) {
	server, now := redistest.Start(t), newClock()
	server.Kill()
	e, err := NewEverywhere([]RedisConfig{{Address: server.Addr(), Timeout: time.Nanosecond}}, RedisDeps{Clock: now.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
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
	for _, boards := range [][]RedisConfig{nil, {{Address: "nowhere"}}, {{Address: "127.0.0.1:1"}, {Address: "127.0.0.1:1"}}} {
		if _, err := NewEverywhere(boards, RedisDeps{Clock: time.Now}); err == nil {
			t.Errorf("%v: taken", boards)
		}
	}
}

// TestOverTLS: the certificate says who Redis is, and ours lets us in.
func TestOverTLS(t *testing.T) {
	dir := t.TempDir()
	if _, err := devca.Make(devca.Config{Dir: dir, Services: []string{"redis", "api-server", "control-panel"}, Clock: time.Now}); err != nil {
		t.Fatal(err)
	}
	certificates, err := mtls.Load(filepath.Join(dir, "api-server"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	deps := RedisDeps{Clock: time.Now, Log: slog.New(slog.DiscardHandler)}
	for service, right := range map[string]bool{"redis": true, "control-panel": false} {
		server := redistest.StartWithTLS(t, filepath.Join(dir, service), "")
		r, err := RedisSettings{Address: server.Addr(), TLS: true}.Open(certificates, deps)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		if _, err := r.Spend(t.Context(), "id", time.Minute); (err == nil) != right || !right && !errors.Is(err, mtls.ErrWrongService) {
			t.Errorf("a server that is %s: %v", service, err)
		}
		if !right {
			continue
		}
		e, err := EveryRedisSettings{Addresses: []string{server.Addr()}, TLS: true}.Open(certificates, deps)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		if err := e.Heard(t.Context(), keyOf(1), time.Now(), time.Minute); err != nil {
			t.Error(err)
		}
		plain, err := RedisSettings{Address: server.Addr()}.Open(nil, deps)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { plain.Close() })
		if _, err := plain.Spend(t.Context(), "id", time.Minute); !errors.Is(err, ErrAway) {
			t.Errorf("without TLS: %v", err)
		}
	}
}

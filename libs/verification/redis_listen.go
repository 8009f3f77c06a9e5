package verification

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// shards is the number of channels that notices are spread over, by key: all on one connection
	// here, and where Redis is several servers one day, each channel has a place of its own.
	shards = 16
	// pingEvery keeps a subscription audible; one that is silent for three times as long is gone.
	pingEvery = 2 * time.Second
	// again is the pause before a lost subscription is tried again, and the most by which the reading
	// that follows is put off, so that a server which comes back isn't met by everybody at once. Both
	// are random, up to this.
	again = 250 * time.Millisecond
	// batch is how many records are read at once.
	batch = 512
)

func channelOf(key Key) string { return channel(int(key[0]) % shards) }

func channel(shard int) string { return fmt.Sprintf("popvote:notices:%d", shard) }

// listen keeps the subscription up until the context ends.
func (r *Redis) listen(ctx context.Context) {
	for ctx.Err() == nil {
		err := r.subscription(ctx)
		if ctx.Err() != nil {
			return
		}
		r.interrupted(ctx, err)
		pause(ctx, rand.N(again)) //nolint:gosec // jitter
	}
}

// interrupted notes the loss, and sends away those who wait once it has lasted for too long.
func (r *Redis) interrupted(ctx context.Context, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock()
	if r.lost.IsZero() {
		r.lost = now
		r.log.WarnContext(ctx, "lost the verification board; trying again", slog.Any("error", err))
	}
	if now.Sub(r.lost) >= r.patience {
		r.waiting.tellAll(News{Err: fmt.Errorf("couldn't wait for an SMS: %w: %w", ErrAway, err)})
	}
}

// subscription listens on one connection until that fails.
func (r *Redis) subscription(ctx context.Context) error {
	channels := make([]string, shards)
	for i := range channels {
		channels[i] = channel(i)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client := r.link.Client()
	s := client.Subscribe(ctx, channels...)
	// Closing is what ends a read.
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer func() {
		if stop() {
			_ = s.Close()
		}
	}()
	go r.look(ctx, client, s)

	silence := r.link.Within() // until it is there, then longer
	for {
		received, err := s.ReceiveTimeout(ctx, silence)
		if err != nil {
			return err
		}
		switch received := received.(type) {
		case *redis.Subscription:
			// The last one says that every channel is ours: what is published now arrives. The
			// library may have changed the connection under us, so it can come more than once.
			if received.Kind == "subscribe" && received.Count == shards {
				silence = 3 * pingEvery
				if err := r.catchUp(ctx); err != nil {
					return err
				}
			}
		case *redis.Message:
			r.tell(ctx, received.Payload)
		}
	}
}

// look keeps a subscription audible, and ends it when the server has moved.
func (r *Redis) look(ctx context.Context, client *redis.Client, s *redis.PubSub) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if r.link.Client() != client {
				_ = s.Close() // the reader notices, as it does below
				return
			}
			_ = s.Ping(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// catchUp reads the state of all who wait: whatever was published before was published to nobody.
func (r *Redis) catchUp(ctx context.Context) error {
	r.mu.Lock()
	keys := make([]Key, 0, len(r.waiting))
	for key := range r.waiting {
		keys = append(keys, key)
	}
	r.mu.Unlock()
	if len(keys) > batch {
		pause(ctx, rand.N(again)) //nolint:gosec // jitter
	}
	for len(keys) > 0 {
		some := keys[:min(batch, len(keys))]
		keys = keys[len(some):]
		names := make([]string, len(some))
		for i, key := range some {
			names[i] = heardName(key)
		}
		states, err := r.link.Client().MGet(ctx, names...).Result()
		if err != nil {
			return fmt.Errorf("couldn't read who was heard meanwhile: %w", err)
		}
		if len(states) != len(some) {
			return errors.New("couldn't read who was heard meanwhile: the answer has another length")
		}
		for i, state := range states {
			if text, there := state.(string); there {
				r.heard(ctx, some[i], text)
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.lost.IsZero() {
		r.log.InfoContext(ctx, "listening to the verification board", slog.Duration("after", r.clock().Sub(r.lost)))
		r.lost = time.Time{}
	}
	return nil
}

// tell passes a notice on: the key's 32 bytes, then the time.
func (r *Redis) tell(ctx context.Context, payload string) {
	if len(payload) < len(Key{}) {
		r.log.WarnContext(ctx, "ignored a notice that is too short")
		return
	}
	r.heard(ctx, Key([]byte(payload[:len(Key{})])), payload[len(Key{}):])
}

func (r *Redis) heard(ctx context.Context, key Key, text string) {
	at, err := readTime(text)
	if err != nil {
		r.log.WarnContext(ctx, "ignored a notice", slog.Any("error", err))
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting.tell(key, News{At: at})
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

package verification

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/popvote/popvote/libs/cloudredis"
)

// ErrAway is a board whose server can't be asked, or that did not answer in time. Whether it did what
// was asked is then not known. Callers refuse what they wanted it for, and may be asked again.
var ErrAway = errors.New("the verification board's server is away")

// ErrBusy is a session whose codes so many are asking about at once that no try could be counted.
var ErrBusy = errors.New("too many ask about this session's codes at once")

// RedisConfig is how a Redis reaches its server. Link is required.
type RedisConfig struct {
	// Link leads to the server. It may be shared, and is to be closed after the board.
	Link *cloudredis.Link
	// Patience is how long those who wait do so without hearing from the server before they are sent
	// away with ErrAway, to come back elsewhere; 0 means 10 s. A restart takes one.
	Patience time.Duration
}

// RedisDeps are what a Redis works with.
type RedisDeps struct {
	Clock func() time.Time
	Log   *slog.Logger
}

// Redis is a Board on a Redis server that several processes share. It holds keyed hashes and hashes of
// random ids only, each for a while; a server that comes back empty costs voters another SMS. A call
// that the server doesn't answer is ErrAway, never a guess: nothing is spent, sent or tried unseen.
type Redis struct {
	records
	patience time.Duration
	clock    func() time.Time
	log      *slog.Logger

	stop context.CancelFunc
	done chan struct{} // closed when the subscription's goroutine has ended

	mu sync.Mutex
	// guarded by mu
	waiting waiting
	closed  bool
	// lost says since when the subscription is not there; zero while it is.
	lost time.Time
}

var _ Board = (*Redis)(nil)

// NewRedis returns a board on a server, which need not be there yet. Close it.
func NewRedis(config RedisConfig, deps RedisDeps) *Redis {
	ctx, stop := context.WithCancel(context.Background())
	r := &Redis{
		records:  records{config.Link},
		patience: cmp.Or(config.Patience, 10*time.Second),
		clock:    deps.Clock,
		log:      deps.Log,
		stop:     stop,
		done:     make(chan struct{}),
		waiting:  waiting{},
		lost:     deps.Clock(),
	}
	go func() {
		defer close(r.done)
		r.listen(ctx)
	}()
	return r
}

// Close sends away those who wait, and ends the subscription.
func (r *Redis) Close() {
	r.stop()
	<-r.done
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.waiting.tellAll(News{Err: fmt.Errorf("couldn't wait for an SMS: %w: the board is closed", ErrAway)})
}

// Lost says that nothing is heard of the server. It is known at once when connections break, and within
// some seconds when the server only falls silent.
func (r *Redis) Lost() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.lost.IsZero()
}

// Health is nil while the server answers and its notices arrive.
func (r *Redis) Health(ctx context.Context) error {
	if err := r.link.Client().Ping(ctx).Err(); err != nil {
		return away(ctx, "ask the verification board", err)
	}
	if r.Lost() {
		return fmt.Errorf("couldn't listen to the verification board: %w", ErrAway)
	}
	return nil
}

// The names on the server. Sessions and ids are hashed: a name is no place for what opens anything.
func heardName(key Key) string {
	return "popvote:heard:" + base64.RawURLEncoding.EncodeToString(key[:])
}
func codesName(session string) string { return "popvote:codes:" + hashed(session) }
func spentName(id string) string      { return "popvote:spent:" + hashed(id) }

func hashed(s string) string {
	h := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(h[:])
}

// hear writes the state unless it is there, then gives notice of what is there: a message that comes
// again after its notice was lost gives it again. KEYS: the record. ARGV: the time, the ttl in ms, the
// channel, the key.
var hear = redis.NewScript(`
redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
local at = redis.call('GET', KEYS[1]) or ARGV[1]
redis.call('PUBLISH', ARGV[3], ARGV[4] .. at)
return 1
`)

// Heard implements Board.
func (r *Redis) Heard(ctx context.Context, key Key, at time.Time, ttl time.Duration) error {
	err := hear.Run(ctx, r.link.Client(), []string{heardName(key)},
		strconv.FormatInt(at.UnixNano(), 10), milliseconds(ttl), channelOf(key), key[:]).Err()
	if err != nil {
		return away(ctx, "record an SMS", err)
	}
	return nil
}

// Watch implements Board. An event cannot fall between: who waits is registered before the state is
// read, the state is written before its notice, and whenever the subscription starts anew the state of
// all who wait is read again.
func (r *Redis) Watch(ctx context.Context, key Key) (<-chan News, func(), error) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, nil, fmt.Errorf("couldn't wait for an SMS: %w: the board is closed", ErrAway)
	}
	news := r.waiting.add(key)
	r.mu.Unlock()
	stop := func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.waiting.remove(key, news)
	}
	text, err := r.link.Client().Get(ctx, heardName(key)).Result()
	if errors.Is(err, redis.Nil) {
		return news, stop, nil
	}
	stop()
	if err != nil {
		return nil, nil, away(ctx, "read whether an SMS came", err)
	}
	at, err := readTime(text)
	return already(News{at, err}), func() {}, nil
}

// records is the part of a Board that any server may keep by itself: nobody waits for it.
type records struct{ link *cloudredis.Link }

// NewCode implements Board.
func (r records) NewCode(ctx context.Context, session string, mac [32]byte, limits CodeLimits, now time.Time) (state CodeState, err error) {
	err = r.change(ctx, session, func(c *codes) (*codes, time.Duration) {
		if c == nil {
			c = &codes{}
		}
		var next *codes
		next, state = c.send(mac, limits, now)
		return next, limits.TTL
	})
	return state, err
}

// Unsent implements Board.
func (r records) Unsent(ctx context.Context, session string) error {
	return r.change(ctx, session, func(c *codes) (*codes, time.Duration) {
		if c == nil || c.Before == nil {
			return nil, 0
		}
		return c.Before, c.Limits.TTL
	})
}

// TryCode implements Board.
func (r records) TryCode(ctx context.Context, session string, mac [32]byte, now time.Time) (state CodeState, err error) {
	err = r.change(ctx, session, func(c *codes) (next *codes, _ time.Duration) {
		if c == nil {
			state = noRecord()
			return nil, 0
		}
		next, state = c.try(mac, now)
		return next, 0
	})
	return state, err
}

// exchange puts a record in another's place, if that is still there. KEYS: the record. ARGV: what was
// there (empty for nothing), what shall be, its ttl in ms (0: as long as what was there).
var exchange = redis.NewScript(`
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if ARGV[3] == '0' then
  redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1
`)

// exchanges is how often a change is tried while others change the same record: one voter's two tabs
// need two.
const exchanges = 20

// change applies a change to a session's record, nil for none, before it returns: what it said may be
// told only then. A change to nil leaves the record. A ttl of 0 keeps the record's end.
func (r records) change(ctx context.Context, session string, to func(*codes) (*codes, time.Duration)) error {
	name := codesName(session)
	for range exchanges {
		old, err := r.link.Client().Get(ctx, name).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return away(ctx, "read a session's codes", err)
		}
		var c *codes
		if old != "" {
			c = &codes{}
			if err := json.Unmarshal([]byte(old), c); err != nil {
				return fmt.Errorf("couldn't read a session's codes: %w", err)
			}
		}
		next, ttl := to(c)
		if next == nil {
			return nil
		}
		text, err := json.Marshal(next)
		if err != nil {
			return fmt.Errorf("couldn't write a session's codes: %w", err)
		}
		var px int64
		if ttl != 0 || c == nil {
			px = milliseconds(ttl)
		}
		done, err := exchange.Run(ctx, r.link.Client(), []string{name}, old, text, px).Int()
		if err != nil {
			return away(ctx, "write a session's codes", err)
		}
		if done == 1 {
			return nil
		}
	}
	return fmt.Errorf("couldn't write a session's codes: %w", ErrBusy)
}

// Spend implements Board.
func (r records) Spend(ctx context.Context, id string, ttl time.Duration) (bool, error) {
	err := r.link.Client().SetArgs(ctx, spentName(id), 1, redis.SetArgs{Mode: "NX", TTL: time.Duration(milliseconds(ttl)) * time.Millisecond}).Err()
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, redis.Nil):
		return false, nil
	default:
		return false, away(ctx, "mark an id as used", err)
	}
}

// Spent implements Board.
func (r records) Spent(ctx context.Context, id string) (bool, error) {
	n, err := r.link.Client().Exists(ctx, spentName(id)).Result()
	if err != nil {
		return false, away(ctx, "ask whether an id was used", err)
	}
	return n > 0, nil
}

// milliseconds rounds up, and to 1 at least: no record is without an end.
func milliseconds(ttl time.Duration) int64 {
	return max(1, int64((ttl+time.Millisecond-1)/time.Millisecond))
}

func readTime(text string) (time.Time, error) {
	nanoseconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("couldn't read when an SMS came: %w", err)
	}
	return time.Unix(0, nanoseconds), nil
}

// away is an error of the server or the way to it; the caller's own, where the caller went.
func away(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("couldn't %s: %w: %w", what, ErrAway, err)
}

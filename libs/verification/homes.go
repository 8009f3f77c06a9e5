package verification

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/popvote/popvote/libs/cloudredis"
	"github.com/popvote/popvote/libs/discovery"
)

// Homes keeps what the API servers of all clouds must know alike: sessions' codes, and what is spent. Each
// session, and each id, is at home in the Redis of one cloud, and all servers compute which, by rendezvous
// hashing: so a voter's next request may come in anywhere, and tries are counted in one place. Where a home is
// away, the cloud that comes next takes its place; what was at home there is gone, at the price of another SMS.
// Safe for concurrent use.
type Homes struct {
	finder discovery.Finder
	access cloudredis.Access
	clock  func() time.Time

	mu    sync.Mutex
	homes map[string]*home // by cloud; guarded by mu
}

// home is the Redis of one cloud.
type home struct {
	records
	// resting is until when it is not asked, because it didn't answer; guarded by Homes.mu.
	resting time.Time
}

// rest is how long a Redis that didn't answer in time is left alone: each question would take as long again. One
// that refuses at once is asked each time, so that it is used from the moment it is back.
const rest = 2 * time.Second

// NewHomes returns the homes in all clouds whose Redis are found. Close it.
func NewHomes(finder discovery.Finder, access cloudredis.Access, clock func() time.Time) *Homes {
	return &Homes{finder: finder, access: access, clock: clock, homes: map[string]*home{}}
}

// Close cuts the connections.
func (h *Homes) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var failed error
	for _, one := range h.homes {
		failed = errors.Join(failed, one.link.Close())
	}
	return failed
}

// NewCode is Board's, at home.
func (h *Homes) NewCode(ctx context.Context, session string, mac [32]byte, limits CodeLimits, now time.Time) (state CodeState, err error) {
	err = h.ask(session, func(at records) (bool, error) {
		state, err = at.NewCode(ctx, session, mac, limits, now)
		return true, err
	})
	return state, err
}

// Unsent is Board's, at home.
func (h *Homes) Unsent(ctx context.Context, session string) error {
	return h.ask(session, func(at records) (bool, error) { return true, at.Unsent(ctx, session) })
}

// TryCode is Board's. Who was sent a code while home was away tries it where it was sent.
func (h *Homes) TryCode(ctx context.Context, session string, mac [32]byte, now time.Time) (state CodeState, err error) {
	err = h.ask(session, func(at records) (bool, error) {
		state, err = at.TryCode(ctx, session, mac, now)
		return state.Result != NoCode, err
	})
	return state, err
}

// Spend is Board's, at home.
func (h *Homes) Spend(ctx context.Context, id string, ttl time.Duration) (fresh bool, err error) {
	err = h.ask(id, func(at records) (bool, error) {
		fresh, err = at.Spend(ctx, id, ttl)
		return true, err
	})
	return fresh, err
}

// Spent is Board's, at home; and wherever else it may have been spent while home was away.
func (h *Homes) Spent(ctx context.Context, id string) (spent bool, err error) {
	err = h.ask(id, func(at records) (bool, error) {
		spent, err = at.Spent(ctx, id)
		return spent, err
	})
	return spent, err
}

// ask asks the clouds of an id, home first, until one has the answer. It is ErrAway if none has, and one that
// might did not answer.
func (h *Homes) ask(id string, question func(records) (final bool, err error)) error {
	clouds := h.order(id)
	var away error
	if len(clouds) == 0 {
		away = fmt.Errorf("couldn't ask any cloud: %w: %w", ErrAway, cloudredis.ErrNone)
	}
	for _, one := range clouds {
		if h.rests(one) {
			away = cmp.Or(away, errResting)
			continue
		}
		final, err := question(one.records)
		switch {
		case errors.Is(err, ErrAway):
			away = err
			if slow(err) {
				h.tire(one)
			}
		case err != nil || final:
			return err
		}
	}
	return away
}

var errResting = fmt.Errorf("couldn't ask a cloud that didn't answer before: %w", ErrAway)

// slow says whether it took time to learn that nobody answers.
func slow(err error) bool {
	late, ok := errors.AsType[net.Error](err)
	return ok && late.Timeout() || errors.Is(err, redis.ErrPoolTimeout)
}

func (h *Homes) rests(one *home) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.clock().Before(one.resting)
}

func (h *Homes) tire(one *home) {
	h.mu.Lock()
	defer h.mu.Unlock()
	one.resting = h.clock().Add(rest)
}

// order is the clouds of an id, home first.
func (h *Homes) order(id string) []*home {
	var clouds []string
	for _, in := range h.finder.Find(cloudredis.Service) {
		if !slices.Contains(clouds, in.Cloud) {
			clouds = append(clouds, in.Cloud)
		}
	}
	type place struct {
		score [sha256.Size]byte
		home  *home
	}
	places := make([]place, len(clouds))
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, cloud := range clouds {
		if h.homes[cloud] == nil {
			h.homes[cloud] = &home{records: records{cloudredis.NewLink(cloudredis.Config{Access: h.access, Finder: h.finder, Cloud: cloud})}}
		}
		places[i] = place{sha256.Sum256([]byte(cloud + "\x00" + id)), h.homes[cloud]}
	}
	slices.SortFunc(places, func(a, b place) int { return bytes.Compare(a.score[:], b.score[:]) })
	all := make([]*home, len(places))
	for i, p := range places {
		all[i] = p.home
	}
	return all
}

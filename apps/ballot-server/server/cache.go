package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/popvote/popvote/apps/ballot-server/internal/store"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/signed"
)

// cache holds every poll's newest manifest. This process remembers each of its changes here after it is
// durable, so readers need no database; what other servers changed in the same one, it learns by the tick,
// and for one poll as it is asked for.
type cache struct {
	mu    sync.RWMutex // guards polls
	polls map[string]known
}

// known is one poll as readers see it.
type known struct {
	no       int64
	document signed.Document
	manifest poll.Manifest
}

func newCache() *cache { return &cache{polls: map[string]known{}} }

func (c *cache) get(id string) (known, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	k, ok := c.polls[id]
	return k, ok
}

// put remembers a poll, unless something newer is known.
func (c *cache) put(k known) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old, ok := c.polls[k.manifest.ID]; !ok || old.manifest.Sequence < k.manifest.Sequence {
		c.polls[k.manifest.ID] = k
	}
}

func (c *cache) all() []known {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make([]known, 0, len(c.polls))
	for _, k := range c.polls {
		out = append(out, k)
	}
	return out
}

// due lists the polls that the clock closes.
func (c *cache) due(now time.Time) []string {
	var ids []string
	for _, k := range c.all() {
		if due(k.manifest.State, k.manifest.ClosesAt, now) {
			ids = append(ids, k.manifest.ID)
		}
	}
	return ids
}

// due tells whether the closing time of a poll that takes ballots has come.
func due(state poll.State, closesAt, now time.Time) bool {
	return (state == poll.Open || state == poll.Paused) && !now.Before(closesAt)
}

// remember reads a poll's manifest from the database into the cache.
func (s *Server) remember(ctx context.Context, p *store.Poll) error {
	m, err := s.store.Manifest(ctx, p.ID, 0)
	if err != nil {
		return err
	}
	k := known{no: p.No}
	if k.document, err = document(m.JWS); err != nil {
		return fmt.Errorf("couldn't read the manifest of poll %s: %w", p.ID, err)
	}
	if _, err := k.document.Open(s.signer.Key(), &k.manifest); err != nil {
		return fmt.Errorf("couldn't trust the manifest of poll %s: %w", p.ID, err)
	}
	s.cache.put(k)
	return nil
}

// catchUp remembers the polls that other servers have changed.
func (s *Server) catchUp(ctx context.Context) error {
	polls, err := s.store.Polls(ctx)
	if err != nil {
		return err
	}
	for i := range polls {
		p := &polls[i]
		if err := s.hear(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// hear remembers a poll as its row is, if that is newer.
func (s *Server) hear(ctx context.Context, p *store.Poll) error {
	if k, ok := s.cache.get(p.ID); ok && k.manifest.Sequence >= p.Sequence {
		return nil
	}
	return s.remember(ctx, p)
}

// known returns a poll as it is now: one whose time has come is closed first. Who closes a poll at one
// server may count it at another at once, so that the tick would be too late; while the database cannot be
// read, what is remembered has to do.
func (s *Server) known(ctx context.Context, id string) (known, error) {
	if s.shared {
		if p, err := s.store.Poll(ctx, id); err == nil {
			if err := s.hear(ctx, p); err != nil {
				return known{}, err
			}
		}
	}
	k, ok := s.cache.get(id)
	if !ok {
		return known{}, problem.New(problem.PollNotFound)
	}
	if due(k.manifest.State, k.manifest.ClosesAt, s.clock()) {
		if err := s.closeDue(ctx, id); err != nil {
			return known{}, err
		}
		k, _ = s.cache.get(id)
	}
	return k, nil
}

// document makes a signed document of its JWS alone: the plain twin is the payload.
func document(jws string) (signed.Document, error) {
	parts := strings.Split(jws, ".")
	if len(parts) != 3 {
		return signed.Document{}, errors.New("not a compact JWS")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || !json.Valid(payload) {
		return signed.Document{}, errors.New("the payload is not JSON")
	}
	return signed.Document{Plain: payload, JWS: jws}, nil
}

package server

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/libs/trustee"
)

// counts are the counts under way, by poll.
type counts struct {
	mu  sync.Mutex
	now map[string]bool
}

func (c *counts) start(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now[id] {
		return false
	}
	if c.now == nil {
		c.now = map[string]bool{}
	}
	c.now[id] = true
	return true
}

func (c *counts) finish(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.now, id)
}

func (s *Server) counting(id string) bool {
	s.counts.mu.Lock()
	defer s.counts.mu.Unlock()
	return s.counts.now[id]
}

type countRequest struct {
	decision
	// Shares are the trustees' share files, each as its text; or Key is the whole key's.
	Shares []string `json:"shares,omitempty"`
	Key    string   `json:"key,omitempty"`
}

// maxShares is more trustees than any poll has.
const maxShares = 64

// count has the ballots opened and counted. The key exists only here, in memory, for as long as the
// count runs: it is never stored, logged or sent back.
func (s *Server) count(c *gin.Context) {
	id := c.Param("poll")
	var body countRequest
	if err := s.decode(c, &body, largeBody); err != nil {
		s.fail(c, err)
		return
	}
	if err := body.check(id); err != nil {
		s.fail(c, err)
		return
	}
	m, err := s.manifest(c, id)
	if err != nil {
		s.fail(c, err)
		return
	}
	key, err := body.open()
	if err != nil {
		s.log.WarnContext(c, "count refused", slog.String("poll", id), slog.String("code", troubleOf(err).Code), slogActor(operator(c).actor))
		s.fail(c, err)
		return
	}
	defer clear(key)
	// A wrong key is refused before the first ballot is touched.
	if public, err := trustee.PublicKey(key); err != nil || public.Kid != m.Ballot.TallyKey.Kid {
		s.fail(c, errOtherKey)
		return
	}
	if !s.counts.start(id) {
		s.fail(c, errCounting)
		return
	}
	defer s.counts.finish(id)

	// A count takes as long as it takes, and a closed tab does not end it; only Close does.
	_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Time{})
	ctx, cancel := context.WithCancel(context.WithoutCancel(c))
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()

	s.log.InfoContext(c, "count started", slog.String("poll", id), slog.Int("shares", len(body.Shares)), slogActor(operator(c).actor))
	if err := s.admin.Count(ctx, id, key, change(c, body.Reason)); err != nil {
		s.fail(c, err)
		return
	}
	s.log.InfoContext(c, "count finished", slog.String("poll", id), slogActor(operator(c).actor))
	s.done(c, id)
}

// open makes the private key of the shares, or takes the one given.
func (r countRequest) open() ([]byte, error) {
	switch {
	case r.Key != "" && len(r.Shares) == 0:
		key, err := parseKey(r.Key)
		if err != nil {
			return nil, errShareForm.at("/key").because("Give the key as 32 bytes in base64url or hexadecimal, or as the JSON of a private key.")
		}
		return key, nil
	case r.Key == "" && len(r.Shares) > 0 && len(r.Shares) <= maxShares:
		shares := make([]trustee.Share, len(r.Shares))
		for i, text := range r.Shares {
			var err error
			if shares[i], err = trustee.ReadShare(strings.NewReader(text)); err != nil {
				return nil, errShareForm.at(fmt.Sprintf("/shares/%d", i)).because(fmt.Sprintf("File %d of %d is not a share file.", i+1, len(r.Shares)))
			}
		}
		key, err := trustee.Combine(shares)
		if err != nil {
			return nil, sharesTrouble(err)
		}
		return key, nil
	default:
		return nil, errField.at("/shares").because("Give the trustees' shares, or the whole key.")
	}
}

// parseKey reads a P-256 private scalar: 32 bytes in base64url, base64 or hexadecimal, or the member
// "d" of a private JWK (RFC 7518 §6.2.2.1).
func parseKey(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "{") {
		var jwk struct {
			D string `json:"d"`
		}
		if err := json.Unmarshal([]byte(text), &jwk); err != nil || jwk.D == "" {
			return nil, errors.New("not a private key in JSON")
		}
		text = jwk.D
	}
	for _, decode := range []func(string) ([]byte, error){
		hex.DecodeString, base64.RawURLEncoding.DecodeString, base64.URLEncoding.DecodeString, base64.StdEncoding.DecodeString,
	} {
		if key, err := decode(text); err == nil && len(key) == 32 {
			return key, nil
		}
	}
	return nil, errors.New("not 32 bytes in a known encoding")
}

// sharesTrouble says which share is wrong, or how many are still needed.
func sharesTrouble(err error) error {
	if few, ok := errors.AsType[*trustee.TooFewError](err); ok {
		t := *errFewShares
		t.Have, t.Need = few.Have, few.Need
		return &t
	}
	t := errShares
	if errors.Is(err, trustee.ErrDifferentKeys) {
		t = errMixedShares
	}
	return t.at("/shares").because(sentence(err))
}

// sentence makes an error's text fit to be read: a capital, a full stop.
func sentence(err error) string {
	text := err.Error()
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}

package server

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/ratelimit"
	"github.com/popvote/popvote/libs/token"
)

const (
	// maxToken is the longest token ever given out, bytes (the schema AccessToken).
	maxToken = 2048
	// lateRead is how long after its deadline a token may still ask whether the SMS was in time: whose
	// connection broke in the last second must not lose what was won.
	lateRead = 30 * time.Second

	sessionKey = "session"
)

var (
	errTokenMissing   = problem.New(problem.TokenMissing)
	errTokenInvalid   = problem.New(problem.TokenInvalid)
	errTokenExpired   = problem.New(problem.TokenExpired)
	errTokenWrongStep = problem.New(problem.TokenWrongStep)
)

// authenticate opens the access token and leaves the session on the request.
func (s *Server) authenticate(c *gin.Context, want token.Step) error {
	given := c.Request.Header["Authorization"]
	if len(given) == 0 {
		return errTokenMissing
	}
	scheme, sealed, _ := strings.Cut(given[0], " ")
	if len(given) > 1 || !strings.EqualFold(scheme, "Bearer") || sealed == "" {
		return errTokenMissing.Because("Send one Authorization header: Bearer and the token.")
	}
	if len(sealed) > maxToken {
		return errTokenInvalid
	}
	now := s.clock()
	if c.FullPath() == waitRoute {
		now = now.Add(-lateRead)
	}
	session, err := s.tokens.Open(sealed, now)
	switch {
	case errors.Is(err, token.ErrExpired):
		return errTokenExpired
	case err != nil:
		return problem.Wrap(problem.TokenInvalid, err)
	case session.Step != want:
		return errTokenWrongStep
	}
	c.Set(sessionKey, &session)
	return nil
}

// sessionOf returns the session that admit left on the request.
func sessionOf(c *gin.Context) *token.Session {
	return c.MustGet(sessionKey).(*token.Session)
}

// newSessionID is 128 bits of chance, base64url.
func newSessionID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // crypto/rand never fails
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// seal makes the session's token.
func (s *Server) seal(session token.Session) (string, error) {
	sealed, err := s.tokens.Seal(session)
	if err != nil {
		return "", sealsNothing(err)
	}
	return sealed, nil
}

// canSeal is asked before what only a new token makes good: no SMS is paid for, and no code used up, for a token
// that will not be.
func (s *Server) canSeal() error {
	if err := s.tokens.Ready(); err != nil {
		return sealsNothing(err)
	}
	return nil
}

// sealsNothing is over once Vault can be asked again, or the voter's next request is another server's.
func sealsNothing(err error) error {
	return problem.Wrap(problem.Unavailable, fmt.Errorf("couldn't seal a token: %w", err)).After(soon(10 * time.Second))
}

// verified moves a session on once its phone is proved: a new token, which may cast and no more.
func (s *Server) verified(ctx context.Context, h http.Header, from netip.Addr, session *token.Session, p *publicPoll) (channelsapi.Verified, error) {
	if err := s.countProved(ctx, h, session); err != nil {
		return channelsapi.Verified{}, err
	}
	now := s.clock()
	lifetime := time.Duration(p.manifest.Verification.BallotSeconds) * time.Second
	next := *session
	next.Step = token.Verified
	next.Await = [32]byte{}
	next.SealedPhone = ""
	next.Expires = wholeSecond(now.Add(lifetime))
	sealed, err := s.seal(next)
	if err != nil {
		return channelsapi.Verified{}, err
	}
	s.toll.Verified(ratelimit.NetworkOf(from), tollSession(session, p))
	s.metrics.verified.WithLabelValues(session.Poll, string(p.manifest.Verification.Mode)).Inc()
	return channelsapi.Verified{AccessToken: sealed, ExpiresAt: next.Expires, Seconds: leftSeconds(lifetime)}, nil
}

// wholeSecond rounds a deadline up. A time of whole seconds always has the same length, so that no
// two answers of a kind differ in theirs.
func wholeSecond(t time.Time) time.Time {
	return t.Add(time.Second - time.Nanosecond).UTC().Truncate(time.Second)
}

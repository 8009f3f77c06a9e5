package server

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/ratelimit"
	"github.com/popvote/popvote/libs/token"
	"github.com/popvote/popvote/libs/verification"
)

const (
	// pingEvery keeps proxies from taking a quiet stream for a dead one.
	pingEvery = 15 * time.Second
	// pollFor is how long a long poll is held.
	pollFor = 25 * time.Second
	// settle is how long after the deadline an SMS that came in time may still be on its way here.
	settle = time.Second
	// writeWithin bounds each write to a held connection.
	writeWithin = 10 * time.Second
)

// AwaitVerification holds the connection until the SMS is there. The board registers first, then
// reads, then waits, so neither a lost connection nor a late one loses the event.
func (a api) AwaitVerification(ctx context.Context, _ channelsapi.AwaitVerificationRequestObject) (channelsapi.AwaitVerificationResponseObject, error) {
	c := routed(ctx)
	session := sessionOf(c)
	p, err := a.polls.get(ctx, session.Poll)
	if err != nil {
		return nil, err
	}
	if session.Await == ([32]byte{}) {
		return nil, problem.New(problem.WrongMode)
	}
	if err := a.limit(c, ratelimit.Wait, ratelimit.Subject{Client: client(c), Poll: session.Poll}); err != nil {
		return nil, err
	}
	if a.waiters.Add(1) > int64(a.config.MaxWaiters) {
		a.waiters.Add(-1)
		return nil, problem.New(problem.Overloaded).After(soon(2 * time.Second))
	}
	// Given back where the waiting ends: in the stream's own writing, or here.
	if accepts(c.Request.Header, "text/event-stream") {
		return stream{&waiter{a.Server, session, p, client(c)}, c.Request}, nil
	}
	defer a.waiters.Add(-1)
	return a.longPoll(c, session, p)
}

func accepts(h http.Header, media string) bool {
	for _, line := range h["Accept"] {
		for one := range strings.SplitSeq(line, ",") {
			one, _, _ = strings.Cut(one, ";")
			if strings.EqualFold(strings.TrimSpace(one), media) {
				return true
			}
		}
	}
	return false
}

// inTime says whether an SMS came before the session's deadline.
func inTime(got verification.News, session *token.Session) bool {
	return got.Err == nil && !got.At.After(session.Expires)
}

// longPoll is the twin of the stream for clients that cannot read one.
func (s *Server) longPoll(c *gin.Context, session *token.Session, p *publicPoll) (channelsapi.AwaitVerificationResponseObject, error) {
	news, stop, err := s.deps.Board.Watch(c, session.Await)
	if err != nil {
		return nil, boardDown(err)
	}
	defer stop()
	// The board is always asked once, even past the deadline: the SMS may have been in time.
	left := session.Expires.Sub(s.clock()) + settle
	hold := time.NewTimer(min(pollFor, max(left, settle)))
	defer hold.Stop()
	select {
	case got := <-news:
		switch {
		case inTime(got, session):
			verified, err := s.verified(c.Request.Context(), c.Writer.Header(), client(c), session, p)
			return channelsapi.AwaitVerification200JSONResponse{Status: channelsapi.VerificationStateStatusVerified, Verified: &verified}, err
		case got.Err != nil:
			return nil, boardDown(got.Err)
		default:
			return nil, errTokenExpired // it came too late
		}
	case <-hold.C:
	case <-s.closing.Done():
	case <-c.Done():
	}
	remaining := session.Expires.Sub(s.clock())
	if remaining <= 0 {
		return nil, errTokenExpired
	}
	seconds := leftSeconds(remaining)
	return channelsapi.AwaitVerification200JSONResponse{Status: channelsapi.VerificationStateStatusWaiting, Seconds: &seconds}, nil
}

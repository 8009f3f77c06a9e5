package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
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
		return stream{a.Server, c, session, p}, nil
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
			verified, err := s.verified(c, session, p)
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

// stream is an answer that is held: server-sent events, of which only one matters.
type stream struct {
	server  *Server
	c       *gin.Context
	session *token.Session
	poll    *publicPoll
}

// VisitAwaitVerificationResponse holds the connection. A stream that ends without an event means:
// come back, here or at another server.
func (t stream) VisitAwaitVerificationResponse(w http.ResponseWriter) error {
	s := t.server
	defer s.waiters.Add(-1)
	ctx := t.c.Request.Context()
	out := eventWriter{w: w, control: http.NewResponseController(w), clock: s.clock}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // proxies: pass each event on at once
	w.WriteHeader(http.StatusOK)
	if err := out.write("retry: " + strconv.Itoa(1000) + "\n\n"); err != nil {
		return nil //nolint:nilerr // the client is gone, and nobody is left to be told
	}

	news, stop, err := s.deps.Board.Watch(ctx, t.session.Await)
	if err != nil {
		return nil //nolint:nilerr // the board is away or the client is: the client comes back
	}
	defer stop()
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	deadline := time.NewTimer(max(settle, t.session.Expires.Sub(s.clock())+settle))
	defer deadline.Stop()
	for {
		var err error
		select {
		case got := <-news:
			switch {
			case inTime(got, t.session):
				return t.finish(out)
			case got.Err == nil: // too late
				_ = out.write("event: expired\ndata: {}\n\n")
			}
			return nil // the board is away: the client comes back
		case <-ping.C:
			err = out.write(": ping\n\n")
		case <-deadline.C:
			_ = out.write("event: expired\ndata: {}\n\n")
			return nil
		case <-s.closing.Done():
			return nil
		case <-ctx.Done():
			return nil
		}
		if err != nil {
			return nil //nolint:nilerr // the client is gone, and nobody is left to be told
		}
	}
}

// finish sends the one event that matters; or, where waiting longer has no use either, what is wrong.
func (t stream) finish(out eventWriter) error {
	verified, err := t.server.verified(t.c, t.session, t.poll)
	if errors.Is(err, errPhoneUsedUp) {
		data, err := json.Marshal(documentOf(err))
		if err != nil {
			return fmt.Errorf("couldn't write the refused event: %w", err)
		}
		_ = out.write("event: refused\ndata: " + string(data) + "\n\n") // as below
		return nil
	}
	if err != nil {
		return err
	}
	data, err := json.Marshal(verified)
	if err != nil {
		return fmt.Errorf("couldn't write the verified event: %w", err)
	}
	_ = out.write("event: verified\ndata: " + string(data) + "\n\n") // a client that is gone comes back and finds it
	return nil
}

// eventWriter writes and flushes, each time with a deadline of its own: a held connection outlives
// the listener's write timeout.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	clock   func() time.Time
}

func (e eventWriter) write(text string) error {
	_ = e.control.SetWriteDeadline(e.clock().Add(writeWithin)) // not every writer has deadlines
	if _, err := e.w.Write([]byte(text)); err != nil {
		return err
	}
	return e.control.Flush()
}

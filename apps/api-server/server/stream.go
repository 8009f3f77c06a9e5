package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/token"
	"github.com/popvote/popvote/libs/verification"
)

// retryLine tells clients how soon to come back, in milliseconds.
const retryLine = "retry: 1000\n\n"

// stream is an answer that is held: server-sent events, of which only one matters. A stream that ends without an event
// means: come back, here or at another server.
type stream struct {
	*waiter
	request *http.Request
}

// VisitAwaitVerificationResponse holds the connection. Where it can, it takes it out of net/http's hands: tens of
// thousands are held at once, and a request there keeps its buffers, and the stack that it once needed, for as long as it
// lasts. What waits afterwards holds nothing of the request.
func (t stream) VisitAwaitVerificationResponse(w http.ResponseWriter) error {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // proxies: pass each event on at once
	control := http.NewResponseController(w)
	if t.request.ProtoMajor == 1 && t.request.ProtoMinor == 1 && canHijack(w) {
		return t.hold(control, h)
	}
	s, ctx := t.server, t.request.Context()
	defer s.waiters.Add(-1)
	// The board is asked before the client hears anything: whoever hears has their place. If it is away, the stream ends
	// at once, and the client comes back.
	news, stop, err := s.deps.Board.Watch(ctx, t.session.Await)
	if err == nil {
		defer stop()
	}
	w.WriteHeader(http.StatusOK)
	if out := (response{w, control, s.clock}); out.write(retryLine) == nil && err == nil {
		t.wait(ctx, news, out)
	}
	return nil
}

// canHijack looks below the router's writer, which panics where it can't.
func canHijack(w http.ResponseWriter) bool {
	if router, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		w = router.Unwrap()
	}
	_, can := w.(http.Hijacker)
	return can
}

// hold begins to hold a connection that is the waiter's alone. All that needs a deep stack is done here, on the request's:
// what goes on has the smallest.
func (t stream) hold(control *http.ResponseController, h http.Header) error {
	s, v := t.server, t.waiter
	ctx, gone := context.WithCancel(s.closing)
	left := func() {
		gone()
		s.waiters.Add(-1)
	}
	news, stop, away := s.deps.Board.Watch(ctx, v.session.Await) // as above
	if away != nil {
		stop = func() {}
	}
	conn, read, err := control.Hijack()
	if err != nil {
		stop()
		left()
		return fmt.Errorf("couldn't hold a connection: %w", err)
	}
	end := func() {
		stop()
		_ = conn.Close() // it is gone either way
		left()
	}
	out := connection{conn, s.clock}
	// Whoever waits says nothing more: what comes is the end, or nothing we could answer.
	spoke := read.Reader.Buffered() > 0
	if out.send(t.head(h)) != nil || away != nil || spoke {
		out.last()
		end()
		return nil
	}
	go func() {
		var one [1]byte
		_, _ = conn.Read(one[:])
		gone()
	}()
	go func() {
		defer end()
		defer func() {
			if p := recover(); p != nil {
				s.metrics.problems.WithLabelValues(string(problem.Internal)).Inc()
				s.log.LogAttrs(ctx, slog.LevelError, "a held connection panicked", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			}
		}()
		v.wait(ctx, news, out)
		out.last()
	}()
	return nil
}

// head is what comes before the events, as net/http writes it.
func (t stream) head(h http.Header) []byte {
	var to bytes.Buffer
	fmt.Fprintf(&to, "HTTP/1.1 200 OK\r\nDate: %s\r\n", t.server.clock().UTC().Format(http.TimeFormat))
	h.Del("Content-Length")
	h.Set("Transfer-Encoding", "chunked") // so that an end is told from a break
	h.Set("Connection", "close")
	_ = h.Write(&to) // a buffer takes everything
	to.WriteString("\r\n")
	to.Write(chunk(retryLine))
	return to.Bytes()
}

// waiter is a voter who waits for their SMS to be here.
type waiter struct {
	server  *Server
	session *token.Session
	poll    *publicPoll
	from    netip.Addr
}

// events is where a waiter's events are written to. An error is a client that is gone.
type events interface{ write(text string) error }

// wait writes events until the one that matters, the deadline, or the end of the context.
func (v *waiter) wait(ctx context.Context, news <-chan verification.News, out events) {
	s := v.server
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	deadline := time.NewTimer(max(settle, v.session.Expires.Sub(s.clock())+settle))
	defer deadline.Stop()
	for {
		select {
		case got := <-news:
			switch {
			case inTime(got, v.session):
				v.finish(ctx, out)
			case got.Err == nil: // too late
				_ = out.write("event: expired\ndata: {}\n\n")
			}
			return // the board is away: the client comes back
		case <-ping.C:
			if out.write(": ping\n\n") != nil {
				return
			}
		case <-deadline.C:
			_ = out.write("event: expired\ndata: {}\n\n")
			return
		case <-s.closing.Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// finish sends the one event that matters; or, where waiting longer has no use either, what is wrong. A client that is
// gone comes back and finds it.
func (v *waiter) finish(ctx context.Context, out events) {
	verified, err := v.server.verified(ctx, http.Header{}, v.from, v.session, v.poll)
	kind, said := "verified", any(verified)
	switch {
	case errors.Is(err, errPhoneUsedUp):
		kind, said = "refused", documentOf(err)
	case err != nil:
		v.server.log.LogAttrs(ctx, slog.LevelWarn, "a voter who waited could not be told", slog.Any("error", err))
		return // the client comes back
	}
	data, err := json.Marshal(said)
	if err != nil {
		v.server.log.LogAttrs(ctx, slog.LevelError, "couldn't write an event", slog.Any("error", err))
		return
	}
	_ = out.write("event: " + kind + "\ndata: " + string(data) + "\n\n")
}

// response writes events to an answer of net/http, each with a deadline of its own: a held connection outlives the
// listener's write timeout.
type response struct {
	w       http.ResponseWriter
	control *http.ResponseController
	clock   func() time.Time
}

func (r response) write(text string) error {
	_ = r.control.SetWriteDeadline(r.clock().Add(writeWithin)) // not every writer has deadlines
	if _, err := r.w.Write([]byte(text)); err != nil {
		return err
	}
	return r.control.Flush()
}

// connection writes events to a connection of its own, in chunks (RFC 9112, section 7.1).
type connection struct {
	net.Conn
	clock func() time.Time
}

func (c connection) write(text string) error { return c.send(chunk(text)) }

func (c connection) send(data []byte) error {
	if err := c.SetWriteDeadline(c.clock().Add(writeWithin)); err != nil {
		return err
	}
	_, err := c.Write(data)
	return err
}

// last says that this was all.
func (c connection) last() { _ = c.send([]byte("0\r\n\r\n")) }

func chunk(text string) []byte {
	return []byte(strconv.FormatInt(int64(len(text)), 16) + "\r\n" + text + "\r\n")
}

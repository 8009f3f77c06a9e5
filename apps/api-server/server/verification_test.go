package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/verification"
)

// held is a connection that is kept open, read as it is written.
type held struct {
	mu     sync.Mutex
	header http.Header
	status int
	text   strings.Builder
	done   chan struct{}
	cancel context.CancelFunc
}

func (h *held) Header() http.Header { return h.header }
func (h *held) Flush()              {}
func (h *held) WriteHeader(status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status = status
}

func (h *held) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(b)
}

func (h *held) read() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

func (h *held) ended() bool {
	select {
	case <-h.done:
		return true
	default:
		return false
	}
}

// hold opens a connection and leaves it open.
func (w *world) hold(token string, options ...option) *held {
	ctx, cancel := context.WithCancel(context.Background())
	h := &held{header: http.Header{}, done: make(chan struct{}), cancel: cancel}
	r := w.request("GET", "/v1/verification", nil, append(options, bearer(token))...).WithContext(ctx)
	handler := w.server.Handler()
	go func() {
		defer close(h.done)
		handler.ServeHTTP(h, r)
	}()
	return h
}

var eventStream = with("Accept", "text/event-stream")

// verifiedEvent reads the one event that matters.
func verifiedEvent(t *testing.T, text string) channelsapi.Verified {
	t.Helper()
	_, data, found := strings.Cut(text, "event: verified\ndata: ")
	if !found {
		t.Fatalf("no verified event in %q", text)
	}
	var v channelsapi.Verified
	if err := json.Unmarshal([]byte(data), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// inBubble runs with a clock that only moves when everybody waits.
func inBubble(t *testing.T, test func(t *testing.T, w *world, p person, s channelsapi.Session)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.someone()
		test(t, w, p, w.open(sends, p))
		if n := w.server.waiters.Load(); n != 0 {
			t.Errorf("%d waiters are still counted", n)
		}
	})
}

func TestTheEventComesAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p person, s channelsapi.Session) {
		stream := w.hold(s.AccessToken, eventStream)
		time.Sleep(40 * time.Second)
		synctest.Wait()
		if got := stream.read(); strings.Count(got, ": ping\n\n") != 2 || strings.Contains(got, "event:") {
			t.Errorf("after 40 s: %q", got)
		}
		w.text(p.phone, *s.Verification.Text)
		synctest.Wait()
		if !stream.ended() || stream.status != http.StatusOK || stream.header.Get("Content-Type") != "text/event-stream" || stream.header.Get("Cache-Control") != "no-store" {
			t.Errorf("ended %v, %d %v", stream.ended(), stream.status, stream.header)
		}
		castAndVerify(t, w, sends, verifiedEvent(t, stream.read()).AccessToken)
	})
}

func TestNoEventIsLost(t *testing.T) {
	t.Run("to a late subscriber", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world, p person, s channelsapi.Session) {
			w.text(p.phone, *s.Verification.Text)
			time.Sleep(time.Minute)
			stream := w.hold(s.AccessToken, eventStream)
			synctest.Wait()
			verifiedEvent(t, stream.read())
		})
	})
	t.Run("to a broken connection", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world, p person, s channelsapi.Session) {
			stream := w.hold(s.AccessToken, eventStream)
			synctest.Wait()
			stream.cancel()
			synctest.Wait()
			if !stream.ended() || w.server.waiters.Load() != 0 {
				t.Error("the broken connection is still held")
			}
			w.text(p.phone, *s.Verification.Text)
			again := w.hold(s.AccessToken, eventStream)
			synctest.Wait()
			verifiedEvent(t, again.read())
		})
	})
	t.Run("to a server that stops", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world, p person, s channelsapi.Session) {
			stream, poll := w.hold(s.AccessToken, eventStream), w.hold(s.AccessToken)
			synctest.Wait()
			w.server.Close()
			synctest.Wait()
			if !stream.ended() || strings.Contains(stream.read(), "event:") || !poll.ended() || !strings.Contains(poll.read(), `"waiting"`) {
				t.Errorf("closing: %v %q, %v %q", stream.ended(), stream.read(), poll.ended(), poll.read())
			}
			w.text(p.phone, *s.Verification.Text)
			w.server = w.start()
			again := w.hold(s.AccessToken, eventStream)
			synctest.Wait()
			verifiedEvent(t, again.read())
		})
	})
	t.Run("to the last second", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world, p person, s channelsapi.Session) {
			time.Sleep(180*time.Second - time.Millisecond)
			w.text(p.phone, *s.Verification.Text)
			time.Sleep(20 * time.Second) // the connection was lost, and is back after the deadline
			stream := w.hold(s.AccessToken, eventStream)
			synctest.Wait()
			verifiedEvent(t, stream.read())
			if got := w.await(s.AccessToken); got.status != http.StatusOK {
				t.Errorf("long poll: %d %s", got.status, got.body)
			}
		})
	})
	t.Run("to two tabs", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world, p person, s channelsapi.Session) {
			one, two := w.hold(s.AccessToken, eventStream), w.hold(s.AccessToken)
			synctest.Wait()
			w.text(p.phone, *s.Verification.Text)
			synctest.Wait()
			verifiedEvent(t, one.read())
			if !strings.Contains(two.read(), `"verified"`) {
				t.Errorf("the long poll got %q", two.read())
			}
		})
	})
}

func TestTheStreamEndsWithTheDeadline(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, _ person, s channelsapi.Session) {
		stream := w.hold(s.AccessToken, eventStream)
		time.Sleep(180 * time.Second)
		synctest.Wait()
		if stream.ended() {
			t.Error("it ended before an SMS of the last second could be here")
		}
		time.Sleep(settle)
		synctest.Wait()
		if got := stream.read(); !stream.ended() || !strings.HasSuffix(got, "event: expired\ndata: {}\n\n") || strings.Count(got, ": ping") != 12 {
			t.Errorf("ended %v: %q", stream.ended(), got)
		}
	})
}

func TestAnSMSAfterTheDeadlineIsTooLate(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p person, s channelsapi.Session) {
		time.Sleep(180*time.Second + time.Millisecond)
		w.text(p.phone, *s.Verification.Text)
		stream := w.hold(s.AccessToken, eventStream)
		synctest.Wait()
		if got := stream.read(); !strings.HasSuffix(got, "event: expired\ndata: {}\n\n") {
			t.Errorf("%q", got)
		}
	})
}

func TestTheWrongPhoneAndTheWrongTextMeetNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p person, s channelsapi.Session) {
		stranger := w.someone()
		stream := w.hold(s.AccessToken, eventStream)
		w.text(stranger.phone, *s.Verification.Text)
		w.text(p.phone, "VOTE 00000000")
		w.text(p.phone, "hello")
		time.Sleep(time.Second)
		synctest.Wait()
		if strings.Contains(stream.read(), "event") {
			t.Errorf("%q", stream.read())
		}
		stream.cancel()
		synctest.Wait()
	})
}

func TestALongPollIsHeldForTwentyFiveSeconds(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, p person, s channelsapi.Session) {
		start := time.Now()
		state := read[channelsapi.VerificationState](t, w.await(s.AccessToken), http.StatusOK)
		if took := time.Since(start); took != pollFor || state.Status != "waiting" || *state.Seconds != 155 {
			t.Errorf("after %v: %s, %d s left", took, state.Status, *state.Seconds)
		}
		w.text(p.phone, *s.Verification.Text)
		if state := read[channelsapi.VerificationState](t, w.await(s.AccessToken), http.StatusOK); state.Status != "verified" {
			t.Errorf("%+v", state)
		}
	})
}

// TestTheBoardIsAway: a held connection ends, and its client comes back.
func TestTheBoardIsAway(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world, _ person, s channelsapi.Session) {
		w.server.deps.Board = awayBoard{w.board}
		stream := w.hold(s.AccessToken, eventStream)
		synctest.Wait()
		if !stream.ended() || strings.Contains(stream.read(), "event:") {
			t.Errorf("ended %v: %q", stream.ended(), stream.read())
		}
		if got := w.await(s.AccessToken).problem(t); got.Code != "unavailable" {
			t.Errorf("long poll: %s", got.Code)
		}
	})
}

type awayBoard struct{ verification.Board }

func (awayBoard) Watch(context.Context, verification.Key) (<-chan verification.News, func(), error) {
	return nil, nil, verification.ErrAway
}

// listen serves the world over real connections, with timeouts for short answers.
func (w *world) listen(t *testing.T) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: w.server.Handler(), ReadTimeout: 200 * time.Millisecond, WriteTimeout: 200 * time.Millisecond}
	go server.Serve(listener)
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String()
}

// stream asks for events over a connection.
func (w *world) stream(ctx context.Context, t *testing.T, address, token string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/v1/verification", nil)
	if err != nil {
		t.Fatal(err)
	}
	eventStream(request)
	bearer(token)(request)
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

// TestAStreamOutlivesTheWriteTimeout, over a real connection, which is taken from net/http: the answer is whole all the same.
func TestAStreamOutlivesTheWriteTimeout(t *testing.T) {
	w := newWorld(t)
	p := w.someone()
	s := w.open(sends, p)
	answer := w.stream(t.Context(), t, w.listen(t), s.AccessToken)
	time.AfterFunc(500*time.Millisecond, func() { w.text(p.phone, *s.Verification.Text) })
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("it ended before its end: %v", err)
	}
	if !strings.HasPrefix(string(text), retryLine) {
		t.Errorf("%q", text)
	}
	castAndVerify(t, w, sends, verifiedEvent(t, string(text)).AccessToken)

	plain, err := http.Get("http://" + answer.Request.URL.Host + "/v1/polls")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Body.Close()
	for _, name := range []string{"Content-Security-Policy", "Referrer-Policy", "X-Content-Type-Options", "Cross-Origin-Resource-Policy", "Date"} {
		if answer.Header.Get(name) == "" || answer.Header.Get(name) != plain.Header.Get(name) && name != "Date" {
			t.Errorf("%s: %q, of others %q", name, answer.Header.Get(name), plain.Header.Get(name))
		}
	}
	if h := answer.Header; h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store" || h.Get("X-Accel-Buffering") != "no" || !answer.Close {
		t.Errorf("%v", h)
	}
}

// TestAHeldConnectionEnds with its client, and with the server: nothing is left of it.
func TestAHeldConnectionEnds(t *testing.T) {
	ends := func(t *testing.T, w *world) {
		t.Helper()
		for range 100 {
			if w.server.waiters.Load() == 0 {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Errorf("%d waiters are still counted", w.server.waiters.Load())
	}
	for name, leave := range map[string]func(w *world, gone context.CancelFunc, conn net.Conn){
		"the client leaves": func(_ *world, gone context.CancelFunc, _ net.Conn) { gone() },
		"the server stops":  func(w *world, _ context.CancelFunc, _ net.Conn) { w.server.Close() },
		"the client says more": func(_ *world, _ context.CancelFunc, conn net.Conn) {
			_, _ = conn.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			address := w.listen(t)
			s := w.open(sends, w.someone())
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = fmt.Fprintf(conn, "GET /v1/verification HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\nAuthorization: Bearer %s\r\n\r\n", address, s.AccessToken)
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			first := make([]byte, len(retryLine))
			if _, err := io.ReadFull(answer.Body, first); err != nil || string(first) != retryLine || w.server.waiters.Load() != 1 {
				t.Fatalf("%q, %v, %d waiters", first, err, w.server.waiters.Load())
			}
			leave(w, func() { _ = conn.Close() }, conn)
			ends(t, w)
			if name == "the client leaves" {
				return
			}
			if rest, err := io.ReadAll(answer.Body); err != nil || len(rest) != 0 {
				t.Errorf("it ended with %q, %v", rest, err)
			}
		})
	}
}

// TestOldClientsAreHeldToo: who speaks HTTP/1.0 can't be sent chunks.
func TestOldClientsAreHeldToo(t *testing.T) {
	w := newWorld(t)
	address := w.listen(t)
	p := w.someone()
	s := w.open(sends, p)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "GET /v1/verification HTTP/1.0\r\nHost: %s\r\nAccept: text/event-stream\r\nAuthorization: Bearer %s\r\n\r\n", address, s.AccessToken)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	w.text(p.phone, *s.Verification.Text)
	text, err := io.ReadAll(answer.Body)
	if err != nil || len(answer.TransferEncoding) != 0 {
		t.Errorf("%v, %v", err, answer.TransferEncoding)
	}
	verifiedEvent(t, string(text))
}

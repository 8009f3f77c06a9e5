package server

import (
	"bufio"
	"context"
	"encoding/json"
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

// TestAStreamOutlivesTheWriteTimeout, over a real connection: the listener's timeouts are for short
// answers.
func TestAStreamOutlivesTheWriteTimeout(t *testing.T) {
	w := newWorld(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: w.server.Handler(), ReadTimeout: 200 * time.Millisecond, WriteTimeout: 200 * time.Millisecond}
	go server.Serve(listener)
	defer server.Close()
	p := w.someone()
	s := w.open(sends, p)
	request, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+listener.Addr().String()+"/v1/verification", nil)
	eventStream(request)
	bearer(s.AccessToken)(request)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	time.AfterFunc(500*time.Millisecond, func() { w.text(p.phone, *s.Verification.Text) })
	var text strings.Builder
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		text.WriteString(lines.Text() + "\n")
	}
	verifiedEvent(t, text.String())
}

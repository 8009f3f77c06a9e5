package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/challenge"
	"github.com/popvote/popvote/libs/verification"
)

// solved solves a challenge of no work.
func solved(t testing.TB, text []byte) string {
	t.Helper()
	payload, err := challenge.Solve(context.Background(), text)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

// instant is a box that records nothing and takes no time: what is left is the API server's own.
type instant struct {
	*box
	outcome []ballotapi.Outcome
}

func (i instant) Cast(context.Context, []ballotapi.Ballot) ([]ballotapi.Outcome, error) {
	return i.outcome, nil
}

// sink is a connection to a client that reads only the status.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }
func (s *sink) WriteHeader(status int)      { s.status = status }

// serve answers a prepared request again and again.
func serve(b *testing.B, handler http.Handler, request *http.Request, bodies func(i int) []byte, want int) {
	b.Helper()
	b.ReportAllocs()
	before := cpu()
	n := 0
	for i := 0; b.Loop(); i++ {
		n++
		text := bodies(i)
		r := *request
		r.Body = io.NopCloser(bytes.NewReader(text))
		r.ContentLength = int64(len(text))
		s := sink{header: http.Header{}}
		handler.ServeHTTP(&s, &r)
		if s.status != want {
			b.Fatalf("status %d", s.status)
		}
	}
	b.ReportMetric(float64(cpu()-before)/float64(n), "cpu-ns/op")
}

// cpu is the processor time of this process so far: on a busy machine it says what the clock cannot.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchWorld(b *testing.B) *world {
	b.Helper()
	return newWorld(b, func(w *world) { w.limits.Scale = 1e9 })
}

// BenchmarkCast is a cast from the router to the box and back, without network and box.
func BenchmarkCast(b *testing.B) {
	w := benchWorld(b)
	token, sealed := w.verify(w.someone()), w.sealed(sends)
	raw, _ := base64.RawURLEncoding.DecodeString(sealed)
	receipt, err := w.box.castOne(ballotapi.Ballot{Poll: sends, Sealed: raw, Key: someKey})
	if err != nil {
		b.Fatal(err)
	}
	deps := w.server.deps
	deps.Metrics, deps.Log = nil, slog.New(slog.DiscardHandler)
	deps.Caster = instant{w.box, []ballotapi.Outcome{{Receipt: &receipt}}}
	s, err := New(b.Context(), w.config, deps)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	body, _ := json.Marshal(object{"sealed": sealed})
	request := w.request("POST", "/v1/ballots", string(body), bearer(token), with("Idempotency-Key", someKey))
	b.Logf("a sealed ballot of %d bytes, %d of padding and text", ballot.SealedSize(w.box.polls[sends].manifest.Ballot.Size), w.box.polls[sends].manifest.Ballot.Size)
	serve(b, s.Handler(), request, func(int) []byte { return body }, http.StatusCreated)
}

// BenchmarkSession is step 1 with a challenge of no work: form, tags, limits, token.
func BenchmarkSession(b *testing.B) {
	w := benchWorld(b)
	var bodies [][]byte
	for range 1 << 14 {
		text, _ := json.Marshal(w.sessionBodyQuietly(w.someone()))
		bodies = append(bodies, text)
	}
	request := w.request("POST", sessionsPath, "{}")
	serve(b, w.server.Handler(), request, func(i int) []byte {
		if i%len(bodies) == 0 && i > 0 { // all challenges are spent: another board has not seen them
			w.server.deps.Board = verification.NewMemory(w.clock.now)
		}
		return bodies[i%len(bodies)]
	}, http.StatusCreated)
}

// BenchmarkManifest is the answer that everybody reads.
func BenchmarkManifest(b *testing.B) {
	w := benchWorld(b)
	serve(b, w.server.Handler(), w.request("GET", "/v1/polls/sends", nil), func(int) []byte { return nil }, http.StatusOK)
}

// BenchmarkJunk is a request that is refused at the door.
func BenchmarkJunk(b *testing.B) {
	w := benchWorld(b)
	junk := []byte(fmt.Sprintf(`{"identity":{"type":"hkid","number":"%064d"},"phone":"1","challenge":"x"}`, 1))
	serve(b, w.server.Handler(), w.request("POST", sessionsPath, "{}"), func(int) []byte { return junk }, http.StatusUnprocessableEntity)
}

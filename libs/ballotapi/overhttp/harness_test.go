package overhttp

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/discovery"
	"github.com/popvote/popvote/libs/identity"
	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/mtls/devca"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/receipt"
	"github.com/popvote/popvote/libs/signed"
)

// memory is a small ballot box: one poll, "lunch", in a map. It gives each ballot its own batch.
type memory struct {
	ballotapi.Admin // the methods no test calls

	calls   atomic.Int64 // of anything but Cast
	changes atomic.Int64
	failing atomic.Pointer[error] // what every call but Cast returns, if set
	hold    chan struct{}         // Cast waits for it to be closed, if not nil

	mu    sync.Mutex // guards what follows
	room  int        // casts that may wait; more are overloaded
	full  bool       // room counts
	casts int
	box   map[identity.VoterTag]kept
}

type kept struct {
	key     string
	sealed  []byte
	receipt ballotapi.Receipt
}

func newMemory() *memory { return &memory{box: map[identity.VoterTag]kept{}} }

func (m *memory) Cast(ctx context.Context, ballots []ballotapi.Ballot) ([]ballotapi.Outcome, error) {
	outcomes := make([]ballotapi.Outcome, len(ballots))
	for i := range ballots {
		outcomes[i] = m.one(ctx, &ballots[i])
	}
	return outcomes, nil
}

func (m *memory) one(ctx context.Context, b *ballotapi.Ballot) ballotapi.Outcome {
	refuse := func(p *problem.Error) ballotapi.Outcome { return ballotapi.Outcome{Err: p} }
	m.mu.Lock()
	m.casts++
	if m.full {
		if m.room == 0 {
			m.mu.Unlock()
			return refuse(problem.New(problem.Overloaded).After(1500 * time.Millisecond))
		}
		m.room--
	}
	m.mu.Unlock()
	if m.hold != nil {
		<-m.hold
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if b.Poll != "lunch" {
		return refuse(problem.New(problem.PollNotFound))
	}
	if k, there := m.box[b.Voter]; there {
		if k.key == b.Key && bytes.Equal(k.sealed, b.Sealed) {
			r := k.receipt
			return ballotapi.Outcome{Receipt: &r}
		}
		return refuse(problem.New(problem.AlreadyVoted).At("/sealed").Because("the first stands"))
	}
	leaves := [][32]byte{ballot.Leaf(b.Poll, b.Sealed), sha256.Sum256(b.Sealed)}
	r := ballotapi.Receipt{Poll: b.Poll, Code: ballot.Code(leaves[0]), Leaf: leaves[0][:], Path: receipt.Tree(leaves).Path(0), Batch: "signed." + string(b.Channel) + "." + b.Took.String()}
	m.box[b.Voter] = kept{b.Key, bytes.Clone(b.Sealed), r}
	return ballotapi.Outcome{Receipt: &r}
}

func (m *memory) seen() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.casts
}

func (m *memory) fails() error {
	m.calls.Add(1)
	if err := m.failing.Load(); err != nil {
		return *err
	}
	return nil
}

func (m *memory) Polls(context.Context) ([]poll.Summary, error) {
	return []poll.Summary{{ID: "lunch", State: poll.Open}}, m.fails()
}

func (m *memory) Manifest(context.Context, string) (signed.Document, error) {
	return signed.Document{Plain: []byte(`{"a":1}`), JWS: "x.y.z"}, m.fails()
}

func (m *memory) Tile(_ context.Context, id, path string) ([]byte, error) {
	return []byte(id + "\x00" + path), m.fails()
}

func (m *memory) Move(context.Context, string, poll.State, ballotapi.Change) error {
	m.changes.Add(1)
	return m.fails()
}

func (m *memory) Apply(context.Context, poll.Definition, ballotapi.Change) error {
	m.changes.Add(1)
	return m.fails()
}

func (m *memory) Health(context.Context) (ballotapi.Health, error) {
	return ballotapi.Health{Version: "x", LastCommit: time.Second}, m.fails()
}

// world is a CA, and what was started with it.
type world struct {
	t   *testing.T
	dir string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t, t.TempDir()}
	_, err := devca.Make(devca.Config{Dir: w.dir, Services: []string{"api-server", "ballot-server", "control-panel", "sms-gateway"}, Clock: time.Now})
	w.ok(err)
	return w
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) files(service string) *mtls.Files {
	w.t.Helper()
	f, err := mtls.Load(filepath.Join(w.dir, service), time.Now)
	w.ok(err)
	return f
}

// serve starts a server with ballot-server's certificate.
func (w *world) serve(h http.Handler) (address string) {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.ok(err)
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	go s.Serve(tls.NewListener(l, w.files("ballot-server").Server()))
	w.t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

// nowhere is an address that nobody listens on.
func (w *world) nowhere() string {
	w.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	w.ok(err)
	w.ok(l.Close())
	return l.Addr().String()
}

// finder finds what it was last told.
type finder struct {
	mu    sync.Mutex
	found []discovery.Instance
}

func (f *finder) Find(service string) []discovery.Instance {
	f.mu.Lock()
	defer f.mu.Unlock()
	if service != "ballot-server" {
		return nil
	}
	return append([]discovery.Instance(nil), f.found...)
}

func (f *finder) tell(addresses ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.found = nil
	for _, a := range addresses {
		f.found = append(f.found, discovery.Instance{Address: a})
	}
}

func (w *world) client(as string, cfg ClientConfig, addresses ...string) *Client {
	w.t.Helper()
	found := new(finder)
	found.tell(addresses...)
	if cfg.Finder == nil {
		cfg.Finder = found
	}
	cfg.TLS = w.files(as).Client("ballot-server")
	c, err := NewClient(cfg)
	w.ok(err)
	w.t.Cleanup(func() { c.Close() })
	return c
}

func voter(n int) (tag identity.VoterTag) {
	binary.BigEndian.PutUint64(tag[:], uint64(n))
	return identity.VoterTag(sha256.Sum256(tag[:]))
}

func vote(who int) ballotapi.Ballot {
	sealed := make([]byte, 200)
	_, _ = rand.Read(sealed)
	return ballotapi.Ballot{Poll: "lunch", Voter: voter(who), Sealed: sealed, Key: fmt.Sprintf("key-of-ballot-%06d", who), Channel: ballotapi.App, Took: 42 * time.Second}
}

func (w *world) cast(c ballotapi.Caster, ballots ...ballotapi.Ballot) []ballotapi.Outcome {
	w.t.Helper()
	outcomes, err := c.Cast(w.t.Context(), ballots)
	w.ok(err)
	if len(outcomes) != len(ballots) {
		w.t.Fatalf("%d outcomes of %d ballots", len(outcomes), len(ballots))
	}
	return outcomes
}

func code(o ballotapi.Outcome) problem.Code {
	if o.Receipt != nil {
		return ""
	}
	return problem.From(o.Err).Code
}

func (w *world) expect(o ballotapi.Outcome, want problem.Code) {
	w.t.Helper()
	if got := code(o); got != want {
		w.t.Fatalf("the outcome is %q (%v), want %q", got, o.Err, want)
	}
}

// eventually waits for what must come, and does not wait for ever.
func (w *world) eventually(what string, is func() bool) {
	w.t.Helper()
	for range 2000 {
		if is() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	w.t.Fatal("it never came: " + what)
}

// dropper reads requests and breaks their connection instead of answering; it counts them.
func dropper(requests *atomic.Int64) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		requests.Add(1)
		panic(http.ErrAbortHandler)
	})
}

var errInside = errors.New("a secret of the inside")

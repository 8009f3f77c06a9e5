package server

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/apps/api-server/humancheck"
	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/ballotlog/logtest"
	"github.com/popvote/popvote/libs/challenge"
	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/identity"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/ratelimit"
	"github.com/popvote/popvote/libs/receipt"
	"github.com/popvote/popvote/libs/signed"
	"github.com/popvote/popvote/libs/sms"
	"github.com/popvote/popvote/libs/trustee"
	"github.com/popvote/popvote/libs/verification"
)

const (
	sends    = "sends"    // the poll in which voters text us
	receives = "receives" // the poll in which voters get a code
	inbound  = "+85290001234"
	mirror   = "https://mirror.example"
)

// world is everything around API servers that outlives them: the box, the board, the keys, the
// phone network, and the clock.
type world struct {
	t       testing.TB
	clock   *clock
	box     *box
	board   *verification.Memory
	keys    *keyring.File
	tokens  keyring.Tokens
	keyFile string
	phones  *phones
	human   *humancheck.Checker
	limits  ratelimit.Config
	config  Config
	log     bytes.Buffer
	metrics *prometheus.Registry
	// checker holds every answer to the API description.
	checker *checker
	server  *Server
	people  int
}

type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

// now runs with real time, so that timers and clock agree, but can be set ahead.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

func newWorld(t testing.TB, change ...func(*world)) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{}, phones: &phones{}, checker: newChecker(t)}
	w.keyFile = filepath.Join(t.TempDir(), "keys.json")
	keys, err := keyring.OpenFile(w.keyFile, w.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	w.keys, w.tokens = keys, keys
	w.board = verification.NewMemory(w.clock.now)
	w.box = newBox(t, w.clock.now)
	w.limits = ratelimit.Config{Scale: 1000}
	w.config = Config{
		TrustedProxies: []string{"none"},
		PublicOrigin:   "https://vote.example",
		AllowedOrigins: []string{mirror},
		InboundNumber:  inbound,
		ChallengeCost:  -1,
		AdmissionRate:  1_000_000,
	}
	for _, c := range change {
		c(w)
	}
	w.server = w.start()
	return w
}

// start starts another API server in the same world.
func (w *world) start() *Server {
	w.t.Helper()
	limiter, err := ratelimit.NewLocal(w.limits, w.clock.now)
	if err != nil {
		w.t.Fatal(err)
	}
	w.metrics = prometheus.NewRegistry()
	s, err := New(context.Background(), w.config, Deps{
		Caster: w.box, Reader: w.box, Tokens: w.tokens, Secrets: w.keys, Board: w.board, Sender: w.phones, Confirmer: w.phones, Limiter: limiter,
		Human: w.human, Clock: w.clock.now, Log: slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Metrics: w.metrics,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(s.Close)
	return s
}

// behindProxy has every request come through a proxy whose word counts.
func behindProxy(w *world) { w.config.TrustedProxies = []string{"192.0.2.7"} }

// reply is an answer as a client sees it.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) problem(t testing.TB) channelsapi.Problem {
	t.Helper()
	var p channelsapi.Problem
	if err := json.Unmarshal(r.body, &p); err != nil {
		t.Fatalf("not a problem: %d %s", r.status, r.body)
	}
	return p
}

func read[T any](t testing.TB, r reply, status int) T {
	t.Helper()
	var v T
	if r.status != status {
		t.Fatalf("status is %d, want %d: %s", r.status, status, r.body)
	}
	if err := json.Unmarshal(r.body, &v); err != nil {
		t.Fatalf("couldn't read %s: %v", r.body, err)
	}
	return v
}

type option func(*http.Request)

func bearer(token string) option {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

func with(name, value string) option { return func(r *http.Request) { r.Header.Set(name, value) } }

// call sends a request, and holds the answer to the API description.
func (w *world) call(method, path string, body any, options ...option) reply {
	w.t.Helper()
	r := w.request(method, path, body, options...)
	recorder := httptest.NewRecorder()
	w.server.Handler().ServeHTTP(recorder, r)
	got := reply{recorder.Code, recorder.Result().Header, recorder.Body.Bytes()}
	w.checker.check(w.t, r, got)
	return got
}

func (w *world) request(method, path string, body any, options ...option) *http.Request {
	w.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			w.t.Fatal(err)
		}
		reader = bytes.NewReader(text)
	}
	r := httptest.NewRequest(method, path, reader)
	r.RemoteAddr = "192.0.2.7:1234"
	r.Header.Set("X-Forwarded-Proto", "https")
	if reader != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, o := range options {
		o(r)
	}
	return r
}

// solve fetches a challenge and solves it.
func (w *world) solve() string {
	w.t.Helper()
	answer := w.call("GET", "/v1/challenge", nil)
	if answer.status != http.StatusOK {
		w.t.Fatalf("no challenge: %d %s", answer.status, answer.body)
	}
	payload, err := challenge.Solve(context.Background(), answer.body)
	if err != nil {
		w.t.Fatal(err)
	}
	return payload
}

// person is a voter-to-be.
type person struct{ hkid, phone string }

// someone is a person nobody has met yet.
func (w *world) someone() person {
	w.people++
	return person{hkid(w.people), fmt.Sprintf("+852%d", 91000000+w.people)}
}

// hkid makes a valid number; the check digit is computed here on its own, from the published rule.
func hkid(n int) string {
	digits := fmt.Sprintf("%06d", n%1_000_000)
	letter := byte('A' + n/1_000_000%26)
	sum := 36*9 + int(letter-'A'+10)*8
	for i, d := range digits {
		sum += int(d-'0') * (7 - i)
	}
	check := (11 - sum%11) % 11
	return fmt.Sprintf("%c%s(%X)", letter, digits, check)
}

type object = map[string]any

func (w *world) sessionBody(p person) object {
	return object{"identity": object{"type": "hkid", "number": p.hkid}, "phone": p.phone, "challenge": w.solve()}
}

func (w *world) open(poll string, p person) channelsapi.Session {
	w.t.Helper()
	return read[channelsapi.Session](w.t, w.call("POST", "/v1/polls/"+poll+"/sessions", w.sessionBody(p)), http.StatusCreated)
}

// text plays the voter's phone and the gateway: the SMS is on the board.
func (w *world) text(from, text string) {
	w.t.Helper()
	secret, err := w.keys.Secret(context.Background(), keyring.Verification, "")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, candidate := range sms.Texts(text) {
		key := verification.KeyOf(secret, sms.Number(from), candidate)
		if err := w.board.Heard(context.Background(), key, w.clock.now(), time.Hour); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) await(token string, options ...option) reply {
	w.t.Helper()
	return w.call("GET", "/v1/verification", nil, append(options, bearer(token))...)
}

// verify takes a person through steps 1 and 2.
func (w *world) verify(p person) string {
	w.t.Helper()
	session := w.open(sends, p)
	w.text(p.phone, *session.Verification.Text)
	state := read[channelsapi.VerificationState](w.t, w.await(session.AccessToken), http.StatusOK)
	if state.Verified == nil {
		w.t.Fatalf("not verified: %+v", state)
	}
	return state.Verified.AccessToken
}

// verifyByCode does the same in the other mode.
func (w *world) verifyByCode(p person) string {
	w.t.Helper()
	session := w.open(receives, p)
	return read[channelsapi.Verified](w.t, w.check(session.AccessToken, w.phones.code(w.t, p.phone)), http.StatusOK).AccessToken
}

func (w *world) check(token, code string) reply {
	w.t.Helper()
	return w.call("POST", "/v1/verification/code", object{"code": code}, bearer(token))
}

func (w *world) resend(token string) reply {
	w.t.Helper()
	return w.call("POST", "/v1/verification/resend", nil, bearer(token))
}

// ring has the code spoken.
func (w *world) ring(token string) reply {
	w.t.Helper()
	return w.call("POST", "/v1/verification/call", nil, bearer(token))
}

// sealed is a ballot for a poll, as a client makes it.
func (w *world) sealed(id string) string {
	w.t.Helper()
	m := w.box.polls[id].manifest
	answers := make(ballot.Answers, len(m.Questions))
	for i, q := range m.Questions {
		answers[i] = []string{q.Options[0].ID}
	}
	text, err := ballot.Seal(&m, answers)
	if err != nil {
		w.t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

const someKey = "a-key-of-a-ballot-0001"

func (w *world) cast(token, key, sealed string, options ...option) reply {
	w.t.Helper()
	return w.call("POST", "/v1/ballots", object{"sealed": sealed}, append(options, bearer(token), with("Idempotency-Key", key))...)
}

// box stands in for the ballot server, whose module may not be linked here. It keeps the contract's
// rules: one ballot per voter, the same receipt for the same ballot, no copies.
type box struct {
	clock  func() time.Time
	signer *signed.Signer
	logs   map[string]*logtest.Log

	mu       sync.Mutex
	polls    map[string]*boxPoll
	calls    map[string]int // reads by kind
	failCast error          // the call fails, nothing known
	failRead error
	outcome  error // every ballot comes to this
	panics   bool
}

// counted is the time that documents carry: a test that takes long must not see them change.
var counted = time.Date(2014, 6, 29, 14, 0, 0, 0, time.UTC)

type boxPoll struct {
	definition poll.Definition
	manifest   poll.Manifest
	votes      map[identity.VoterTag]vote
}

type vote struct {
	key     string
	sealed  string
	receipt ballotapi.Receipt
}

func newBox(t testing.TB, now func() time.Time) *box {
	t.Helper()
	signer, err := signed.NewSigner([32]byte{31: 7})
	if err != nil {
		t.Fatal(err)
	}
	b := &box{clock: now, signer: signer, logs: map[string]*logtest.Log{}, polls: map[string]*boxPoll{}, calls: map[string]int{}}
	_, tally, err := trustee.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for id, mode := range map[string]poll.Mode{sends: poll.VoterSends, receives: poll.VoterReceives} {
		d, err := poll.Sample("hk-2014-06")
		if err != nil {
			t.Fatal(err)
		}
		d.ID, d.TallyKey, d.Verification = id, tally, poll.Verification{Mode: mode, Seconds: 180, BallotSeconds: 1800}
		d.OpensAt, d.ClosesAt = now().Add(-time.Hour).UTC(), now().Add(24*time.Hour).UTC()
		b.polls[id] = &boxPoll{definition: *d, votes: map[identity.VoterTag]vote{}}
		b.logs[id] = logtest.Unserved(t, id)
		b.logs[id].Grow("true", 300)
		b.set(id, poll.Open)
	}
	return b
}

// set moves a poll to a state.
func (b *box) set(id string, state poll.State, change ...func(*poll.Definition)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.polls[id]
	for _, c := range change {
		c(&p.definition)
	}
	p.manifest = poll.NewManifest(&p.definition, state, p.manifest.Sequence+1, b.signer.Key(), b.logs[id].Key, ballot.Size(&p.definition))
}

// recorded counts the votes of all polls.
func (b *box) recorded() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, p := range b.polls {
		n += len(p.votes)
	}
	return n
}

func (b *box) Cast(_ context.Context, ballots []ballotapi.Ballot) ([]ballotapi.Outcome, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls["cast"]++
	if b.panics {
		panic("the box fell over")
	}
	if b.failCast != nil {
		return nil, b.failCast
	}
	out := make([]ballotapi.Outcome, len(ballots))
	for i, one := range ballots {
		r, err := b.castOne(one)
		if err == nil {
			err = b.outcome
		}
		out[i].Err = err
		if err == nil {
			out[i].Receipt = &r
		}
	}
	return out, nil
}

func (b *box) castOne(one ballotapi.Ballot) (ballotapi.Receipt, error) {
	p := b.polls[one.Poll]
	if first, voted := p.votes[one.Voter]; voted {
		switch {
		case first.key == one.Key && first.sealed == string(one.Sealed):
			return first.receipt, nil
		case first.key == one.Key:
			return ballotapi.Receipt{}, problem.New(problem.IdempotencyKeyReused)
		}
		return ballotapi.Receipt{}, problem.New(problem.AlreadyVoted)
	}
	switch p.manifest.State {
	case poll.Open:
	case poll.Paused:
		return ballotapi.Receipt{}, problem.New(problem.PollPaused)
	default:
		return ballotapi.Receipt{}, problem.New(problem.PollClosed)
	}
	if !b.clock().Before(p.manifest.ClosesAt) {
		return ballotapi.Receipt{}, problem.New(problem.PollClosed)
	}
	for _, v := range p.votes {
		if v.sealed == string(one.Sealed) {
			return ballotapi.Receipt{}, problem.New(problem.BallotCopied)
		}
	}
	receipts, err := receipt.Issue(b.signer, one.Poll, [][32]byte{ballot.Leaf(one.Poll, one.Sealed)})
	if err != nil {
		return ballotapi.Receipt{}, err
	}
	p.votes[one.Voter] = vote{one.Key, string(one.Sealed), receipts[0]}
	return receipts[0], nil
}

// find counts a read, and returns a poll.
func (b *box) find(kind, id string) (*boxPoll, error) {
	b.calls[kind]++
	if b.failRead != nil {
		return nil, b.failRead
	}
	if id == "" {
		return nil, nil
	}
	p, ok := b.polls[id]
	if !ok {
		return nil, problem.New(problem.PollNotFound)
	}
	return p, nil
}

func (b *box) Polls(context.Context) ([]poll.Summary, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.find("polls", ""); err != nil {
		return nil, err
	}
	var out []poll.Summary
	for _, id := range slices.Sorted(maps.Keys(b.polls)) {
		m := b.polls[id].manifest
		if m.State != poll.Draft {
			out = append(out, poll.Summary{ID: id, Title: m.Title, State: m.State, Kind: m.Kind, OpensAt: m.OpensAt, ClosesAt: m.ClosesAt})
		}
	}
	return out, nil
}

func (b *box) Manifest(_ context.Context, id string) (signed.Document, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.find("manifest", id)
	if err != nil {
		return signed.Document{}, err
	}
	return b.signer.Sign(p.manifest)
}

func (b *box) Turnout(_ context.Context, id string) (signed.Document, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.find("turnout", id)
	if err != nil {
		return signed.Document{}, err
	}
	return b.signer.Sign(ballotapi.Turnout{
		Poll: id, AsOf: counted, Total: int64(len(p.votes)),
		ByChannel: map[ballotapi.Channel]int64{ballotapi.Web: int64(len(p.votes))}, ByHour: []ballotapi.HourCount{},
	})
}

func (b *box) Result(_ context.Context, id string) (signed.Document, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.find("result", id)
	if err != nil {
		return signed.Document{}, err
	}
	if p.manifest.State != poll.Published {
		return signed.Document{}, problem.New(problem.ResultsNotPublished)
	}
	return b.signer.Sign(object{
		"poll": id, "counted_at": counted, "ballots": 0, "invalid": 0, "questions": []any{},
		"log": object{"size": 0, "root": ""}, "tally_key_id": "k", "manifest_sha256": "00",
	})
}

func (b *box) Checkpoint(_ context.Context, id string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.find("checkpoint", id); err != nil {
		return nil, err
	}
	return b.logs[id].Checkpoint(), nil
}

func (b *box) Tile(_ context.Context, id, path string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.find("tile", id); err != nil {
		return nil, err
	}
	tile := b.logs[id].Tile(path)
	if tile == nil {
		return nil, problem.New(problem.NotFound)
	}
	return tile, nil
}

func (b *box) Bundle(_ context.Context, id string, w io.Writer) error {
	b.mu.Lock()
	_, err := b.find("bundle", id)
	b.mu.Unlock()
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, "PK\x05\x06")
	return err
}

func (b *box) count(kind string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls[kind]
}

// phones stands in for the phone network.
type phones struct {
	mu   sync.Mutex
	sent []sms.Message
	fail error
	used []string // conversations
}

func (p *phones) Confirm(conversation string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used = append(p.used, conversation)
}

func (p *phones) Send(_ context.Context, m sms.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil && !errors.Is(p.fail, sms.ErrUnknown) {
		return p.fail
	}
	p.sent = append(p.sent, m)
	return p.fail
}

func (p *phones) failing(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = err
}

func (p *phones) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sent)
}

// code is what the last SMS to a phone says.
func (p *phones) code(t testing.TB, to string) string {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range slices.Backward(p.sent) {
		if m.To.Reveal() == to {
			_, code, _ := strings.Cut(m.Text, "#")
			return code
		}
	}
	t.Fatal("no SMS came")
	return ""
}

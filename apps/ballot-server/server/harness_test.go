package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/ballot-server/internal/pgtest"
	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/identity"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/trustee"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// secrets derives every secret from its name, so that a server opened again has the same.
type secrets string

func (s secrets) Secret(_ context.Context, purpose keyring.Purpose, scope string) ([32]byte, error) {
	return sha256.Sum256([]byte(string(s) + "\x00" + string(purpose) + "\x00" + scope)), nil
}

// clock stands still until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

var (
	noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	me   = ballotapi.Change{Actor: "tester", Reason: "because"}
)

// box is a ballot server with one poll, "lunch", that the test may close and open again.
type box struct {
	*Server
	t      testing.TB
	cfg    Config
	deps   Deps
	clock  *clock
	scalar []byte
	poll   poll.Definition
}

// newBox opens a server with a draft that is open from an hour ago until an hour from now.
func newBox(t testing.TB) *box { t.Helper(); return newBoxIn(t, t.TempDir()) }

func newBoxIn(t testing.TB, dir string) *box { t.Helper(); return newBoxWith(t, Config{Dir: dir}) }

// eachDatabase runs a test on either kind of database; newBox makes a box in an empty one.
func eachDatabase(t *testing.T, test func(t *testing.T, newBox func(t testing.TB) *box)) {
	t.Run("SQLite", func(t *testing.T) { test(t, newBox) })
	t.Run("PostgreSQL", func(t *testing.T) {
		db := pgtest.New(t, Migrate)
		test(t, func(t testing.TB) *box {
			t.Helper()
			db.Empty(t)
			return newBoxWith(t, Config{DSN: db.Ballot})
		})
	})
}

func newBoxWith(t testing.TB, cfg Config) *box {
	t.Helper()
	b := &box{t: t, clock: &clock{now: noon}}
	b.cfg = cfg
	b.cfg.Tick = time.Hour
	b.deps = Deps{Secrets: secrets("test"), Clock: b.clock.Now, Log: slog.New(slog.DiscardHandler), testClock: true, clockGoesBack: true}
	scalar, key, err := trustee.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	b.scalar = scalar
	b.poll = lunch(key)
	b.open()
	t.Cleanup(func() { b.close() })
	b.ok(b.Apply(t.Context(), b.poll, me))
	return b
}

func lunch(key poll.JWK) poll.Definition {
	text := func(s string) poll.Text { return poll.Text{"en": s} }
	return poll.Definition{
		ID: "lunch", Kind: poll.Rehearsal, Title: text("Lunch"), Organiser: poll.Organiser{Name: text("The canteen")},
		Notice:    poll.Notice{Purpose: text("To cook."), Retention: text("A day."), Effect: text("None.")},
		Languages: []string{"en"}, OpensAt: noon.Add(-time.Hour), ClosesAt: noon.Add(time.Hour),
		Identity: poll.Identity{Type: "hkid"}, Verification: poll.Verification{Mode: poll.VoterSends},
		Questions: []poll.Question{{
			ID: "dish", Title: text("Which?"), Min: 1, Max: 1,
			Options: []poll.Option{{ID: "rice", Label: text("Rice")}, {ID: "noodles", Label: text("Noodles")}, {ID: "abstain", Label: text("Abstain"), Kind: poll.Abstain}},
		}},
		TallyKey: key,
	}
}

func (b *box) open() {
	b.t.Helper()
	s, err := Open(b.t.Context(), b.cfg, b.deps)
	if err != nil {
		b.t.Fatal(err)
	}
	b.Server = s
}

func (b *box) close() {
	b.t.Helper()
	if b.Server != nil {
		b.ok(b.Close())
		b.Server = nil
	}
}

func (b *box) reopen() {
	b.t.Helper()
	b.close()
	b.open()
}

func (b *box) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) move(to poll.State) {
	b.t.Helper()
	b.ok(b.Move(b.t.Context(), "lunch", to, me))
}

func (b *box) manifest() *poll.Manifest {
	b.t.Helper()
	d, err := b.Manifest(b.t.Context(), "lunch")
	b.ok(err)
	var m poll.Manifest
	_, err = d.Open(b.signer.Key(), &m)
	b.ok(err)
	return &m
}

func voter(n int) (tag identity.VoterTag) {
	binary.BigEndian.PutUint64(tag[:], uint64(n))
	return identity.VoterTag(sha256.Sum256(tag[:]))
}

// seal seals a choice.
func (b *box) seal(option string) []byte {
	b.t.Helper()
	sealed, err := ballot.Seal(b.manifest(), ballot.Answers{{option}})
	b.ok(err)
	return sealed
}

// junk has a sealed ballot's size and nothing in it: quick, where nothing is counted.
func (b *box) junk() []byte {
	sealed := make([]byte, ballot.SealedSize(ballot.Size(&b.poll)))
	_, _ = rand.Read(sealed)
	return sealed
}

func cast(who int, key string, sealed []byte) ballotapi.Ballot {
	return ballotapi.Ballot{
		Poll: "lunch", Voter: voter(who), Sealed: sealed, Channel: ballotapi.Web, Took: 42 * time.Second,
		Key: fmt.Sprintf("%s-key-of-a-ballot", key),
	}
}

func (b *box) cast(ballots ...ballotapi.Ballot) []ballotapi.Outcome {
	b.t.Helper()
	outcomes, err := b.Cast(b.t.Context(), ballots)
	b.ok(err)
	return outcomes
}

// code is an outcome's problem, or "" for a receipt.
func code(o ballotapi.Outcome) problem.Code {
	if o.Receipt != nil {
		return ""
	}
	return problem.From(o.Err).Code
}

func (b *box) expect(o ballotapi.Outcome, want problem.Code) {
	b.t.Helper()
	if got := code(o); got != want {
		b.t.Fatalf("the outcome is %q (%v), want %q", got, o.Err, want)
	}
}

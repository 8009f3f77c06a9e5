package server

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/popvote/popvote/apps/ballot-server/internal/store"
	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/receipt"
)

// channels a ballot may come in by.
var channels = []ballotapi.Channel{ballotapi.Web, ballotapi.App, ballotapi.Station}

// Cast implements ballotapi.Caster.
func (s *Server) Cast(ctx context.Context, ballots []ballotapi.Ballot) ([]ballotapi.Outcome, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(ballots) == 0 {
		return nil, nil
	}
	c := &waiting{done: make(chan struct{}), outcomes: make([]ballotapi.Outcome, len(ballots)), left: len(ballots)}
	s.offer(c, ballots)
	select {
	case <-c.done:
		return c.outcomes, nil
	case <-ctx.Done():
	}
	// Whoever gives up waiting has not taken anything back: the batch goes on.
	c.mu.Lock()
	defer c.mu.Unlock()
	outcomes := append([]ballotapi.Outcome(nil), c.outcomes...)
	for i := range outcomes {
		if outcomes[i] == (ballotapi.Outcome{}) {
			outcomes[i].Err = problem.Wrap(problem.OutcomeUnknown, context.Cause(ctx)).After(time.Second)
		}
	}
	return outcomes, nil
}

// CastEach implements ballotapi.EachCaster.
func (s *Server) CastEach(ballots []ballotapi.Ballot, tell func([]ballotapi.Known)) {
	c := &telling{tell: tell}
	s.offer(c, ballots)
	c.told() // of those that were refused
}

// offer queues ballots, and answers at once those that cannot be.
func (s *Server) offer(c call, ballots []ballotapi.Ballot) {
	for i := range ballots {
		it, err := s.item(c, i, &ballots[i])
		if err == nil {
			err = s.committer.offer(it)
		}
		if err != nil {
			s.refuse(ballots[i].Poll, err, s.committer.metrics)
			c.answer(i, ballotapi.Outcome{Err: err})
		}
	}
}

// wellFormed checks an Idempotency-Key: 16 to 64 of A-Z a-z 0-9 - _.
func wellFormed(key string) bool {
	if len(key) < 16 || len(key) > 64 {
		return false
	}
	for i := range len(key) {
		if b := key[i]; b != '-' && b != '_' && (b < '0' || b > '9') && (b < 'A' || b > 'Z') && (b < 'a' || b > 'z') {
			return false
		}
	}
	return true
}

// item checks a ballot's form. Everything that depends on the poll is left to the insert.
func (s *Server) item(c call, at int, b *ballotapi.Ballot) (*item, error) {
	if !wellFormed(b.Key) {
		return nil, problem.New(problem.IdempotencyKeyInvalid)
	}
	known := false
	for _, ch := range channels {
		known = known || b.Channel == ch
	}
	if !known {
		return nil, problem.New(problem.InvalidField).At("/channel")
	}
	if len(b.Sealed) == 0 {
		return nil, problem.New(problem.BallotInvalid).At("/sealed")
	}
	it := &item{call: c, at: at, poll: b.Poll}
	it.ballot = store.Ballot{
		Voter:    b.Voter,
		Leaf:     ballot.Leaf(b.Poll, b.Sealed),
		Sealed:   b.Sealed,
		Channel:  string(b.Channel),
		TookUpTo: tookBucket(b.Took),
	}
	it.ballot.KeyHash, it.ballot.ReqHash = s.request(b.Poll, b.Key, b.Sealed)
	return it, nil
}

// refusals are the answers to ballots that are not in the box.
var refusals = map[store.Judgement]problem.Code{
	store.NoPoll:       problem.PollNotFound,
	store.NotOpen:      problem.PollNotOpen,
	store.Paused:       problem.PollPaused,
	store.Closed:       problem.PollClosed,
	store.WrongSize:    problem.BallotWrongSize,
	store.KeyReused:    problem.IdempotencyKeyReused,
	store.AlreadyVoted: problem.AlreadyVoted,
	store.Copied:       problem.BallotCopied,
}

// seal gives the groups what Record needs to sign and to count.
func (s *Server) seal(b *batch) {
	for _, g := range b.groups {
		g.Seal = func(leaves [][32]byte) (*store.Batch, error) {
			receipts, err := receipt.Issue(s.signer, g.Poll, leaves)
			if err != nil {
				return nil, err
			}
			sealed := &store.Batch{Leaves: leaves, JWS: receipts[0].Batch}
			if _, err := rand.Read(sealed.ID[:]); err != nil {
				return nil, err
			}
			b.receipts[sealed] = receipts
			return sealed, nil
		}
		g.Peak = func(n int) *store.Peak { return s.live.peak(g.Poll, n) }
	}
}

// answer tells every caller its outcome, and returns the items that have to be recorded again.
func (s *Server) answer(b *batch, err error, m *metrics) (again []*item) {
	var last call
	for g, items := range b.items {
		fresh := 0
		for i, it := range items {
			// Those of one call mostly come one after the other.
			if last != nil && last != it.call {
				last.told()
			}
			last = it.call
			if err != nil {
				s.tell(it, ballotapi.Outcome{Err: failed(err)}, m)
				continue
			}
			v := &b.groups[g].Verdicts[i]
			if v.Fresh {
				fresh++
			}
			if v.Judgement == store.Again {
				again = append(again, it)
				continue
			}
			s.tell(it, outcome(b, it, v), m)
		}
		if fresh > 0 {
			s.live.recorded(b.groups[g].Poll, fresh)
		}
	}
	if last != nil {
		last.told()
	}
	return again
}

// failed is the answer to a batch that was not recorded.
func failed(err error) error {
	if errors.Is(err, store.ErrUnknown) {
		return problem.Wrap(problem.OutcomeUnknown, err).After(jitter())
	}
	return problem.Wrap(problem.Unavailable, err).After(jitter())
}

// outcome turns a verdict into an answer.
func outcome(b *batch, it *item, v *store.Verdict) ballotapi.Outcome {
	if v.Judgement != store.Recorded {
		return ballotapi.Outcome{Err: problem.New(refusals[v.Judgement])}
	}
	if receipts, ok := b.receipts[v.Batch]; ok {
		return ballotapi.Outcome{Receipt: &receipts[v.Place]}
	}
	return ballotapi.Outcome{Receipt: &ballotapi.Receipt{
		Poll:  it.poll,
		Code:  ballot.Code(it.ballot.Leaf),
		Leaf:  it.ballot.Leaf[:],
		Index: int64(v.Place),
		Path:  receipt.Tree(v.Batch.Leaves).Path(v.Place),
		Batch: v.Batch.JWS,
	}}
}

func (s *Server) tell(it *item, o ballotapi.Outcome, m *metrics) {
	if o.Err != nil {
		s.refuse(it.poll, o.Err, m)
	} else {
		m.outcome("recorded")
	}
	it.call.answer(it.at, o)
}

// refuse counts a refusal by its code.
func (s *Server) refuse(poll string, err error, m *metrics) {
	code := string(problem.From(err).Code)
	m.outcome(code)
	s.live.refused(poll, code)
}

package server_test

import (
	"context"
	"crypto/ecdh"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/signed"
	"github.com/popvote/popvote/libs/tally"
)

// box is a ballot server as the panel sees one, in memory. The real one may not be linked here.
type box struct {
	mu     sync.Mutex
	now    func() time.Time
	polls  map[string]*kept
	down   bool
	reads  int           // calls of Stats
	gate   chan struct{} // where set, Count waits for it or for its context
	ended  chan error    // where set, gets what ended a waiting Count
	bundle func(w io.Writer) error
	signer *signed.Signer
	// chain is the operators'.
	chain []ballotapi.AuditEntry
}

type kept struct {
	def      poll.Definition
	state    poll.State
	sequence int64
	stats    ballotapi.Stats
	chain    []ballotapi.AuditEntry
	result   *tally.Result
}

var errDown = errors.New("the database is on fire at 10.0.0.7")

func newBox(now func() time.Time) *box {
	signer, err := signed.NewSigner([32]byte{1})
	if err != nil {
		panic(err)
	}
	return &box{now: now, polls: map[string]*kept{}, signer: signer}
}

func (b *box) find(id string) (*kept, error) {
	if b.down {
		return nil, errDown
	}
	if p := b.polls[id]; p != nil {
		return p, nil
	}
	return nil, problem.New(problem.PollNotFound)
}

func (b *box) entry(p *kept, id, action string, c ballotapi.Change, detail any) {
	text, _ := json.Marshal(detail)
	e := ballotapi.AuditEntry{Seq: int64(len(p.chain) + 1), At: b.now(), Poll: id, Actor: c.Actor, Action: action, Reason: c.Reason, Detail: string(text)}
	if n := len(p.chain); n > 0 {
		e.Prev = p.chain[n-1].Hash
	}
	e.Hash = e.Digest()
	p.chain = append(p.chain, e)
}

func (b *box) AllPolls(context.Context) ([]poll.Summary, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return nil, errDown
	}
	var list []poll.Summary
	for id, p := range b.polls {
		list = append(list, poll.Summary{ID: id, Title: p.def.Title, State: p.state, Kind: p.def.Kind, OpensAt: p.def.OpensAt, ClosesAt: p.def.ClosesAt})
	}
	return list, nil
}

func (b *box) Polls(ctx context.Context) ([]poll.Summary, error) { return b.AllPolls(ctx) }

func (b *box) Apply(_ context.Context, d poll.Definition, c ballotapi.Change) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.polls[d.ID]
	if p == nil {
		p = &kept{}
		b.polls[d.ID] = p
	} else if p.state != poll.Draft {
		b.entry(p, d.ID, "apply", c, map[string]string{"refused": "only a draft can be replaced"})
		return &ballotapi.Refused{Poll: d.ID, State: p.state, Reason: "only a draft can be replaced"}
	}
	p.def, p.state = d, poll.Draft
	p.sequence++
	b.entry(p, d.ID, "apply", c, nil)
	return nil
}

func (b *box) Move(_ context.Context, id string, to poll.State, c ballotapi.Change) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.find(id)
	if err != nil {
		return err
	}
	if !poll.CanMove(p.state, to) {
		reason := fmt.Sprintf("it cannot become %s from here", to)
		b.entry(p, id, string(to), c, map[string]string{"refused": reason})
		return &ballotapi.Refused{Poll: id, State: p.state, Reason: reason}
	}
	b.entry(p, id, string(to), c, map[string]poll.State{"from": p.state, "to": to})
	p.state = to
	p.sequence++
	return nil
}

func (b *box) Extend(_ context.Context, id string, at time.Time, c ballotapi.Change) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.find(id)
	if err != nil {
		return err
	}
	if !at.After(p.def.ClosesAt) {
		return &ballotapi.Refused{Poll: id, State: p.state, Reason: "the closing time can only be moved later"}
	}
	p.def.ClosesAt = at
	b.entry(p, id, "extend", c, nil)
	return nil
}

func (b *box) Count(ctx context.Context, id string, key []byte, c ballotapi.Change) error {
	if b.gate != nil {
		select {
		case <-b.gate:
		case <-ctx.Done():
			b.ended <- ctx.Err()
			return ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.find(id)
	if err != nil {
		return err
	}
	if p.state != poll.Closed {
		return &ballotapi.Refused{Poll: id, State: p.state, Reason: "it is counted only after the close"}
	}
	if _, err := ecdh.P256().NewPrivateKey(key); err != nil {
		return fmt.Errorf("the panel gave a key that is none: %w", err)
	}
	p.result = &tally.Result{Poll: id, Ballots: p.stats.Total, TallyKeyID: p.def.TallyKey.Kid}
	for _, q := range p.def.Questions {
		r := tally.QuestionResult{ID: q.ID}
		for _, o := range q.Options {
			r.Options = append(r.Options, tally.OptionResult{ID: o.ID, Votes: 7})
		}
		p.result.Questions = append(p.result.Questions, r)
	}
	p.state = poll.Counted
	p.sequence++
	b.entry(p, id, "counted", c, nil)
	return nil
}

func document(v any) (signed.Document, error) {
	plain, err := json.Marshal(v)
	return signed.Document{Plain: plain, JWS: "e30.e30.e30"}, err
}

func (b *box) Manifest(_ context.Context, id string) (signed.Document, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.find(id)
	if err != nil {
		return signed.Document{}, err
	}
	return document(poll.NewManifest(&p.def, p.state, p.sequence, b.signer.Key(), "log", 128))
}

func (b *box) CountedResult(_ context.Context, id string) (signed.Document, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.find(id)
	if err != nil {
		return signed.Document{}, err
	}
	if p.result == nil {
		return signed.Document{}, problem.New(problem.ResultsNotPublished)
	}
	return document(p.result)
}

func (b *box) Stats(_ context.Context, id string) (ballotapi.Stats, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	p, err := b.find(id)
	if err != nil {
		return ballotapi.Stats{}, err
	}
	s := p.stats
	s.Poll, s.State, s.At = id, p.state, b.now()
	s.PerMinute = slices.Clone(s.PerMinute)
	return s, nil
}

// vote puts ballots into a minute of a poll's curve.
func (b *box) vote(id string, minute time.Time, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &b.polls[id].stats
	s.Total += n
	if k := len(s.PerMinute); k > 0 && s.PerMinute[k-1].Minute.Equal(minute) {
		s.PerMinute[k-1] = ballotapi.MinuteCount{Minute: minute, ByChannel: map[ballotapi.Channel]int64{ballotapi.Web: s.PerMinute[k-1].ByChannel[ballotapi.Web] + n}}
		return
	}
	s.PerMinute = append(s.PerMinute, ballotapi.MinuteCount{Minute: minute, ByChannel: map[ballotapi.Channel]int64{ballotapi.Web: n}})
	s.ByChannel = map[ballotapi.Channel]int64{ballotapi.Web: s.Total}
}

func (b *box) readings() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reads
}

func (b *box) setDown(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}

func (b *box) Audit(_ context.Context, id string) ([]ballotapi.AuditEntry, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.find(id)
	if err != nil {
		return nil, err
	}
	return slices.Clone(p.chain), nil
}

func (b *box) Health(context.Context) (ballotapi.Health, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return ballotapi.Health{}, errDown
	}
	return ballotapi.Health{Version: "test", Database: "memory", Schema: 1, QueueMax: 100, DiskFree: 1 << 40}, nil
}

func (b *box) Bundle(_ context.Context, id string, w io.Writer) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.find(id)
	if err != nil {
		return err
	}
	if p.state != poll.Published {
		return problem.New(problem.ResultsNotPublished)
	}
	return b.bundle(w)
}

func (b *box) DestroyIdentityKey(_ context.Context, id string, c ballotapi.Change) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.find(id)
	if err != nil {
		return err
	}
	ended := p.def.ClosesAt.Add(p.def.AuditWindow())
	if b.now().Before(ended) {
		b.entry(p, id, ballotapi.ActionDestroyKey, c, map[string]string{"refused": "its audit window has not ended"})
		return &ballotapi.Refused{Poll: id, State: p.state, Reason: "its audit window has not ended"}
	}
	certificate, err := b.signer.Sign(ballotapi.Certificate{
		Certificate: ballotapi.CertificateKind, Poll: id, ClosesAt: p.def.ClosesAt, WindowEndedAt: ended, IssuedAt: b.now(), Actor: c.Actor,
		Keys: []ballotapi.DestroyedKey{{Purpose: "voter-tags", Fingerprint: make([]byte, 32), DestroyedAt: b.now()}},
	})
	b.entry(p, id, ballotapi.ActionKeyDestroyed, c, ballotapi.CertificateDetail{Certificate: certificate})
	return err
}

func (b *box) Operators(_ context.Context, after int64) ([]ballotapi.AuditEntry, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return nil, errDown
	}
	return slices.Clone(b.chain[min(after, int64(len(b.chain))):]), nil
}

func (b *box) NoteOperators(_ context.Context, after int64, n ballotapi.Note) (*ballotapi.AuditEntry, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down {
		return nil, errDown
	}
	if after != int64(len(b.chain)) {
		return nil, nil
	}
	e := ballotapi.AuditEntry{Seq: after + 1, At: b.now(), Actor: n.Actor, Action: n.Action, Reason: n.Reason, Detail: n.Detail}
	if after > 0 {
		e.Prev = b.chain[after-1].Hash
	}
	e.Hash = e.Digest()
	b.chain = append(b.chain, e)
	return &e, nil
}

// noted are the operators' chain's entries of an action.
func (b *box) noted(action string) (found []ballotapi.AuditEntry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.chain {
		if e.Action == action {
			found = append(found, e)
		}
	}
	return found
}

// What only others read is of no use to the panel.
func (b *box) Turnout(context.Context, string) (signed.Document, error) { panic("not the panel's") }
func (b *box) Result(context.Context, string) (signed.Document, error)  { panic("not the panel's") }
func (b *box) Checkpoint(context.Context, string) ([]byte, error)       { panic("not the panel's") }
func (b *box) Tile(context.Context, string, string) ([]byte, error)     { panic("not the panel's") }

var _ ballotapi.Admin = (*box)(nil)

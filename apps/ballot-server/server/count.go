package server

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/popvote/popvote/apps/ballot-server/internal/store"
	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/signed"
	"github.com/popvote/popvote/libs/tally"
)

// counted tells the states that have a result.
func counted(state poll.State) bool { return state == poll.Counted || state == poll.Published }

// progress is how far counts under way have come.
type progress struct {
	mu    sync.Mutex // guards polls
	polls map[string]ballotapi.CountProgress
}

func (p *progress) get(id string) *ballotapi.CountProgress {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, ok := p.polls[id]; ok {
		return &c
	}
	return nil
}

func (p *progress) set(id string, c ballotapi.CountProgress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.polls == nil {
		p.polls = map[string]ballotapi.CountProgress{}
	}
	p.polls[id] = c
}

func (p *progress) drop(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.polls, id)
}

// Count implements ballotapi.Admin. It returns when the count is done. Only one runs at a time.
func (s *Server) Count(ctx context.Context, id string, tallyKey []byte, c ballotapi.Change) error {
	k, err := s.known(ctx, id)
	if err != nil {
		return err
	}
	if !s.counting.TryLock() {
		return &ballotapi.Refused{Poll: id, State: k.manifest.State, Reason: "a count is under way"}
	}
	defer s.counting.Unlock()

	var result *store.Result
	reason := s.mayCount(&k.manifest, tallyKey)
	if reason == "" {
		// What was cast in the last moment is in the log before it is counted.
		if err := s.extendLog(ctx, id, true); err != nil {
			return err
		}
		if result, err = s.count(ctx, id, tallyKey); err != nil {
			return err
		}
	}
	return s.changeTx(ctx, id, string(poll.Counted), c, func(tx store.Tx, p *store.Poll, _ time.Time) (any, error) {
		if reason != "" {
			return nil, refused(p, reason)
		}
		if p.Sequence != result.Manifest {
			return nil, refused(p, "it was changed during the count")
		}
		p.State = string(poll.Counted)
		return map[string]any{"from": poll.Closed, "to": poll.Counted, "ballots": p.LogSize}, tx.AddResult(*result)
	})
}

// mayCount says why not, or nothing.
func (s *Server) mayCount(m *poll.Manifest, tallyKey []byte) string {
	switch m.State {
	case poll.Closed:
	case poll.Counted, poll.Published:
		return "it is counted already"
	default:
		return "it is counted only after the close"
	}
	opener, err := ballot.NewOpener(m.ID, tallyKey)
	if err != nil {
		return "what was given is not a private tally key (32 bytes of a P-256 scalar)"
	}
	if opener.Key() != m.Ballot.TallyKey {
		return fmt.Sprintf("its ballots are sealed to the tally key %s; the key given is %s", m.Ballot.TallyKey.Kid, opener.Key().Kid)
	}
	return ""
}

// count opens and counts the ballots of a closed poll.
func (s *Server) count(ctx context.Context, id string, tallyKey []byte) (*store.Result, error) {
	p, err := s.store.Poll(ctx, id)
	if err != nil {
		return nil, err
	}
	k, err := s.known(ctx, id)
	if err != nil {
		return nil, err
	}
	payload, err := k.document.Open(s.signer.Key(), new(poll.Manifest))
	if err != nil {
		return nil, err
	}
	root, err := tlog.TreeHash(p.LogSize, s.store.Log(ctx, p.No))
	if err != nil {
		return nil, fmt.Errorf("couldn't hash the log: %w", err)
	}
	s.progress.set(id, ballotapi.CountProgress{Total: p.LogSize})
	defer s.progress.drop(id)
	done := func(n int64) { s.progress.set(id, ballotapi.CountProgress{Done: n, Total: p.LogSize}) }
	out, err := tally.Count(ctx, &k.manifest, payload, tallyKey, s.store.Ballots(ctx, p), done)
	if err != nil {
		return nil, err
	}
	if out.Result.Ballots != p.LogSize {
		return nil, fmt.Errorf("couldn't count %s: the log has %d ballots, the box gave %d", id, p.LogSize, out.Result.Ballots)
	}
	out.Result.CountedAt = s.clock().UTC().Truncate(time.Second)
	out.Result.Log = tally.LogHead{Size: p.LogSize, Root: root[:]}
	document, err := s.signer.Sign(out.Result)
	if err != nil {
		return nil, err
	}
	opened, err := pack(out.Opened())
	if err != nil {
		return nil, err
	}
	result := &store.Result{Poll: p.No, Manifest: k.manifest.Sequence, JWS: document.JWS, Opened: opened}
	if k.manifest.RevealTallyKey {
		result.TallyKey = bytes.Clone(tallyKey)
	}
	return result, nil
}

// pack lays the opened ballots out in lines, gzipped: sorted as they are, little is left of them.
func pack(opened iter.Seq2[[]byte, error]) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	var line []byte
	for plain, err := range opened {
		if err == nil {
			line = append(append(line[:0], plain...), '\n')
			_, err = z.Write(line)
		}
		if err != nil {
			return nil, fmt.Errorf("couldn't pack the opened ballots: %w", err)
		}
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("couldn't pack the opened ballots: %w", err)
	}
	return b.Bytes(), nil
}

// CountedResult implements ballotapi.Admin.
func (s *Server) CountedResult(ctx context.Context, id string) (signed.Document, error) {
	k, err := s.known(ctx, id)
	if err != nil {
		return signed.Document{}, err
	}
	r, err := s.result(ctx, k)
	if err != nil {
		return signed.Document{}, err
	}
	return document(r.JWS)
}

// Result implements ballotapi.Reader.
func (s *Server) Result(ctx context.Context, id string) (signed.Document, error) {
	k, err := s.known(ctx, id)
	if err != nil {
		return signed.Document{}, err
	}
	if k.manifest.State != poll.Published {
		return signed.Document{}, problem.New(problem.ResultsNotPublished)
	}
	return s.CountedResult(ctx, id)
}

func (s *Server) result(ctx context.Context, k known) (*store.Result, error) {
	if !counted(k.manifest.State) {
		return nil, problem.New(problem.ResultsNotPublished)
	}
	r, err := s.store.Result(ctx, k.no)
	if err == nil && r == nil {
		err = errors.New("couldn't find the result of a counted poll")
	}
	return r, err
}

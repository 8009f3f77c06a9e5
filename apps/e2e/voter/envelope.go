package voter

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/popvote/popvote/apps/e2e/votecheck"
	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/problem"
)

// Envelope is a sealed ballot with its Idempotency-Key: what a page keeps across retries.
type Envelope struct {
	Key     string
	Sealed  []byte
	Answers ballot.Answers

	process int64 // 0: none yet
}

// Seal seals a ballot drawn at random.
func (w *World) Seal() (*Envelope, error) {
	answers := w.Answers()
	sealed, err := ballot.Seal(w.Manifest, answers)
	if err != nil {
		return nil, fmt.Errorf("couldn't seal: %w", err)
	}
	var key [16]byte
	_, _ = rand.Read(key[:])
	return &Envelope{Key: hex.EncodeToString(key[:]), Sealed: sealed, Answers: answers}, nil
}

// Late is the envelope as something on the way sends it once more: on behalf of nobody.
func (e *Envelope) Late() *Envelope {
	late := *e
	late.process = 0
	return &late
}

// Record casts once, and writes down what was asked and what was answered. A process that does not learn
// what became of it asks nothing more: a retry is another's.
func (w *World) Record(ctx context.Context, h *votecheck.Recorder, p Person, token string, e *Envelope) (*ballotapi.Receipt, error) {
	if e.process == 0 {
		e.process = h.Process()
	}
	op, err := h.Invoke(e.process, p.N, e.Key, e.Sealed, e.Answers)
	if err != nil {
		return nil, err
	}
	receipt, status, err := w.Cast(ctx, token, e.Key, e.Sealed)
	end := votecheck.Event{Type: votecheck.Unknown, Status: status}
	if err == nil {
		end.Type, end.Receipt = votecheck.OK, receipt
	} else if p, ok := errors.AsType[*Problem](err); ok {
		end.Code = p.Code
		// The table's word counts, not the answer's; but a balancer that didn't hear of an outcome says so.
		if problem.Lookup(problem.Code(p.Code)).Effect == problem.NotApplied && p.Effect != string(problem.Unknown) {
			end.Type = votecheck.Fail
		}
	}
	if end.Type == votecheck.Unknown {
		e.process = 0
	}
	return receipt, errors.Join(err, h.Complete(op, end))
}

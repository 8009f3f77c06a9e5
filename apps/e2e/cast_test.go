package e2e_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/popvote/popvote/apps/e2e/votecheck"
	"github.com/popvote/popvote/apps/e2e/voter"
	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/problem"
)

// envelope is a sealed ballot with its Idempotency-Key: what a page keeps across retries.
type envelope struct {
	process int64 // 0: none yet
	key     string
	sealed  []byte
	answers ballot.Answers
}

func seal(w *voter.World) (*envelope, error) {
	answers := w.Answers()
	sealed, err := ballot.Seal(w.Manifest, answers)
	if err != nil {
		return nil, fmt.Errorf("couldn't seal: %w", err)
	}
	var key [16]byte
	_, _ = rand.Read(key[:])
	return &envelope{key: hex.EncodeToString(key[:]), sealed: sealed, answers: answers}, nil
}

// verified takes the first two steps.
func verified(ctx context.Context, w *voter.World, p voter.Person) (token string, err error) {
	s, err := w.Identify(ctx, p)
	if err != nil {
		return "", err
	}
	return w.Verify(ctx, p, s)
}

// cast casts once, and writes down what was asked and what was answered. A process that does not learn
// what became of it asks nothing more: a retry is another's.
func (h *history) cast(ctx context.Context, w *voter.World, p voter.Person, token string, e *envelope) (*ballotapi.Receipt, error) {
	if e.process == 0 {
		e.process = h.Process()
	}
	op, err := h.Invoke(e.process, p.N, e.key, e.sealed, e.answers)
	if err != nil {
		return nil, err
	}
	receipt, status, err := w.Cast(ctx, token, e.key, e.sealed)
	end := votecheck.Event{Type: votecheck.Unknown, Status: status}
	if err == nil {
		end.Type, end.Receipt = votecheck.OK, receipt
	} else if p, ok := errors.AsType[*voter.Problem](err); ok {
		end.Code = p.Code
		// The table's word counts, not the answer's.
		if problem.Lookup(problem.Code(p.Code)).Effect == problem.NotApplied {
			end.Type = votecheck.Fail
		}
	}
	if end.Type == votecheck.Unknown {
		e.process = 0
	}
	return receipt, errors.Join(err, h.Complete(op, end))
}

// vote takes all three steps.
func (h *history) vote(ctx context.Context, w *voter.World, p voter.Person) (*ballotapi.Receipt, error) {
	token, err := verified(ctx, w, p)
	if err != nil {
		return nil, err
	}
	e, err := seal(w)
	if err != nil {
		return nil, err
	}
	return h.cast(ctx, w, p, token, e)
}

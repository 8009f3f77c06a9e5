package e2e_test

import (
	"context"

	"github.com/popvote/popvote/apps/e2e/voter"
	"github.com/popvote/popvote/libs/ballotapi"
)

// verified takes the first two steps.
func verified(ctx context.Context, w *voter.World, p voter.Person) (token string, err error) {
	s, err := w.Identify(ctx, p)
	if err != nil {
		return "", err
	}
	return w.Verify(ctx, p, s)
}

// vote takes all three steps.
func (h *history) vote(ctx context.Context, w *voter.World, p voter.Person) (*ballotapi.Receipt, error) {
	token, err := verified(ctx, w, p)
	if err != nil {
		return nil, err
	}
	e, err := w.Seal()
	if err != nil {
		return nil, err
	}
	return w.Record(ctx, h.Recorder, p, token, e)
}

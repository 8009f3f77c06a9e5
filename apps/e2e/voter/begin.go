package voter

import (
	"context"
	"errors"
	"time"

	"github.com/popvote/popvote/libs/channelsapi"
)

// Polls lists the polls.
func (w *World) Polls(ctx context.Context) (*channelsapi.PollList, error) {
	res, err := w.API.ListPollsWithResponse(ctx)
	if err != nil {
		return nil, err
	}
	if res.JSON200 == nil {
		return nil, problemOf(res.HTTPResponse, res.ApplicationproblemJSONDefault)
	}
	return res.JSON200, nil
}

// Challenge fetches a proof of work to do.
func (w *World) Challenge(ctx context.Context) ([]byte, error) {
	c, err := w.API.GetChallengeWithResponse(ctx)
	if err != nil {
		return nil, err
	}
	if c.JSON200 == nil {
		return nil, problemOf(c.HTTPResponse, c.ApplicationproblemJSONDefault)
	}
	return c.Body, nil
}

// Begin starts a session with a proof of work that is done. It waits its turn in the waiting room, if that comes
// before ctx ends.
func (w *World) Begin(ctx context.Context, p Person, solved string) (*channelsapi.Session, error) {
	for {
		session, err := w.Ask(ctx, p, solved)
		told, ok := errors.AsType[*Problem](err)
		if !ok || told.Code != "waiting-room" {
			return session, err
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < told.After {
			return nil, err
		}
		solved = told.Ticket
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(told.After):
		}
	}
}

// Ask asks for a session once, with a proof of work that is done or a ticket of the waiting room.
func (w *World) Ask(ctx context.Context, p Person, solved string) (*channelsapi.Session, error) {
	req := channelsapi.SessionRequest{Challenge: solved, Phone: p.Phone}
	req.Identity.Type, req.Identity.Number = "hkid", p.HKID
	res, err := w.API.CreateSessionWithResponse(ctx, w.Manifest.ID, req)
	if err != nil {
		return nil, err
	}
	if res.JSON201 == nil {
		return nil, problemOf(res.HTTPResponse, res.ApplicationproblemJSONDefault)
	}
	return res.JSON201, nil
}

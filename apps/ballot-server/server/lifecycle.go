package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/popvote/popvote/apps/ballot-server/internal/store"
	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
)

// clockActor is who closes a poll when its time has come.
var clockActor = ballotapi.Change{Actor: "clock", Reason: "the closing time came"}

// Apply implements ballotapi.Admin. Applying what is there already changes nothing.
func (s *Server) Apply(ctx context.Context, d poll.Definition, c ballotapi.Change) error {
	d.SetDefaults()
	d.OpensAt, d.ClosesAt = d.OpensAt.UTC().Truncate(time.Millisecond), d.ClosesAt.UTC().Truncate(time.Millisecond)
	if err := d.Validate(); err != nil {
		return err
	}
	text, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("couldn't encode the poll: %w", err)
	}
	return s.change(ctx, d.ID, "apply", c, func(p *store.Poll, _ time.Time) (any, error) {
		if p.Definition == string(text) {
			return nil, errSame
		}
		if p.No != 0 && p.State != string(poll.Draft) {
			return nil, refused(p, "only a draft can be replaced")
		}
		p.ID, p.Definition, p.State = d.ID, string(text), string(poll.Draft)
		p.OpensAt, p.ClosesAt = d.OpensAt.UnixMilli(), d.ClosesAt.UnixMilli()
		p.SealedSize = ballot.SealedSize(ballot.Size(&d))
		return json.RawMessage(text), nil
	})
}

// Move implements ballotapi.Admin.
func (s *Server) Move(ctx context.Context, id string, to poll.State, c ballotapi.Change) error {
	err := s.change(ctx, id, string(to), c, func(p *store.Poll, now time.Time) (any, error) {
		from := poll.State(p.State)
		switch {
		case p.No == 0:
			return nil, problem.New(problem.PollNotFound)
		case to == poll.Counted:
			return nil, refused(p, "it is counted with the trustees' key only")
		case !poll.CanMove(from, to):
			return nil, refused(p, fmt.Sprintf("it cannot become %s from here", to))
		case to == poll.Open && now.UnixMilli() >= p.ClosesAt:
			return nil, refused(p, "its closing time has passed")
		}
		p.State = string(to)
		return map[string]poll.State{"from": from, "to": to}, nil
	})
	if err == nil && to == poll.Closed {
		return s.settle(ctx, id)
	}
	return err
}

// Extend implements ballotapi.Admin.
func (s *Server) Extend(ctx context.Context, id string, closesAt time.Time, c ballotapi.Change) error {
	closesAt = closesAt.UTC().Truncate(time.Millisecond)
	if c.Reason == "" {
		return problem.New(problem.InvalidField).At("/reason").Because("an extension needs a reason")
	}
	return s.change(ctx, id, "extend", c, func(p *store.Poll, _ time.Time) (any, error) {
		switch state := poll.State(p.State); {
		case p.No == 0:
			return nil, problem.New(problem.PollNotFound)
		case state != poll.Open && state != poll.Paused:
			return nil, refused(p, "only a poll that takes ballots can be extended")
		case closesAt.UnixMilli() <= p.ClosesAt:
			return nil, refused(p, "the closing time can only be moved later")
		}
		var d poll.Definition
		if err := json.Unmarshal([]byte(p.Definition), &d); err != nil {
			return nil, fmt.Errorf("couldn't read the poll's definition: %w", err)
		}
		was := d.ClosesAt
		d.ClosesAt = closesAt
		text, err := json.Marshal(d)
		if err != nil {
			return nil, fmt.Errorf("couldn't encode the poll: %w", err)
		}
		p.Definition, p.ClosesAt = string(text), closesAt.UnixMilli()
		return map[string]time.Time{"from": was, "to": closesAt}, nil
	})
}

// closeDue closes a poll whose time has come, as the clock's doing.
func (s *Server) closeDue(ctx context.Context, id string) error {
	err := s.write(ctx, id, func(tx store.Tx, p *store.Poll, now time.Time) error {
		return s.closeIfDue(tx, p, now)
	})
	if err != nil {
		return err
	}
	return s.settle(ctx, id)
}

func (s *Server) closeIfDue(tx store.Tx, p *store.Poll, now time.Time) error {
	if p.No == 0 || !due(poll.State(p.State), time.UnixMilli(p.ClosesAt), now) {
		return nil
	}
	from := poll.State(p.State)
	p.State = string(poll.Closed)
	return s.save(tx, p, now, string(poll.Closed), clockActor, map[string]poll.State{"from": from, "to": poll.Closed})
}

// settle finishes what a close leaves: the log gets its last leaves, and the database's own log of
// writes, which has the order the ballots came in, is emptied.
func (s *Server) settle(ctx context.Context, id string) error {
	if err := s.extendLog(ctx, id, true); err != nil {
		return err
	}
	return s.store.Truncate(ctx)
}

// errSame is a change to what is there already.
var errSame = errors.New("nothing to change")

func refused(p *store.Poll, reason string) error {
	return &ballotapi.Refused{Poll: p.ID, State: poll.State(p.State), Reason: reason}
}

// change makes one change of a poll: fn alters the row and says what the audit entry should tell. The
// row, the manifest and the entry are written together. A refusal is written to the audit chain, and
// changes nothing else. The row is empty where there is no such poll.
func (s *Server) change(ctx context.Context, id, action string, c ballotapi.Change, fn func(p *store.Poll, now time.Time) (detail any, err error)) error {
	return s.changeTx(ctx, id, action, c, func(_ store.Tx, p *store.Poll, now time.Time) (any, error) { return fn(p, now) })
}

// changeTx is change for what writes more than the row.
func (s *Server) changeTx(ctx context.Context, id, action string, c ballotapi.Change, fn func(tx store.Tx, p *store.Poll, now time.Time) (detail any, err error)) error {
	if c.Actor == "" {
		return problem.New(problem.InvalidField).At("/actor").Because("a change needs to say who makes it")
	}
	var no error
	err := s.write(ctx, id, func(tx store.Tx, p *store.Poll, now time.Time) error {
		no = nil
		if err := s.closeIfDue(tx, p, now); err != nil {
			return err
		}
		before := *p
		detail, err := fn(tx, p, now)
		if errors.Is(err, errSame) {
			return nil
		}
		if r, ok := errors.AsType[*ballotapi.Refused](err); ok {
			no = r
			*p = before
			if err := s.audit(tx, p, now, action, c, map[string]string{"refused": r.Reason}); err != nil {
				return err
			}
			return tx.SavePoll(p)
		}
		if err != nil {
			return err
		}
		return s.save(tx, p, now, action, c, detail)
	})
	return errors.Join(err, no)
}

// write runs fn on a poll's row in a transaction, and lets readers see what came of it.
func (s *Server) write(ctx context.Context, id string, fn func(tx store.Tx, p *store.Poll, now time.Time) error) error {
	var p *store.Poll
	err := s.store.Write(ctx, func(tx store.Tx) error {
		now, err := tx.Now()
		if err != nil {
			return err
		}
		if p, err = tx.Poll(id); errors.Is(err, store.ErrNoPoll) {
			p = &store.Poll{AuditHash: []byte{}}
		} else if err != nil {
			return err
		}
		return fn(tx, p, time.UnixMilli(now).UTC())
	})
	switch {
	case errors.Is(err, store.ErrUnknown):
		return problem.Wrap(problem.OutcomeUnknown, err)
	case err != nil:
		return err
	case p.No == 0:
		return nil
	}
	return s.remember(context.WithoutCancel(ctx), p)
}

// save writes a changed poll with its next manifest and the entry about it.
func (s *Server) save(tx store.Tx, p *store.Poll, now time.Time, action string, c ballotapi.Change, detail any) error {
	if p.No == 0 {
		// The row has to be there before what refers to it.
		if err := tx.SavePoll(p); err != nil {
			return err
		}
	}
	p.Sequence++
	p.SigningKey = s.signer.Key().Kid
	m, err := s.manifest(p)
	if err != nil {
		return err
	}
	signed, err := s.signer.Sign(m)
	if err != nil {
		return err
	}
	if err := tx.AddManifest(store.Manifest{Poll: p.No, Sequence: p.Sequence, JWS: signed.JWS}); err != nil {
		return err
	}
	if err := s.audit(tx, p, now, action, c, detail); err != nil {
		return err
	}
	return tx.SavePoll(p)
}

// manifest is what clients read of a poll.
func (s *Server) manifest(p *store.Poll) (*poll.Manifest, error) {
	var d poll.Definition
	if err := json.Unmarshal([]byte(p.Definition), &d); err != nil {
		return nil, fmt.Errorf("couldn't read the poll's definition: %w", err)
	}
	logKey, err := s.logKey(p.ID)
	if err != nil {
		return nil, err
	}
	m := poll.NewManifest(&d, poll.State(p.State), p.Sequence, s.signer.Key(), logKey, ballot.Size(&d))
	return &m, nil
}

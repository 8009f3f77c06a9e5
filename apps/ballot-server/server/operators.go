package server

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/popvote/popvote/apps/ballot-server/internal/store"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/problem"
)

// Operators implements ballotapi.Admin. What the entries say is the control panel's, which also checks the chain:
// here it is only kept.
func (s *Server) Operators(ctx context.Context, after int64) ([]ballotapi.AuditEntry, error) {
	rows, err := s.store.Operators(ctx, after)
	if err != nil {
		return nil, err
	}
	entries := make([]ballotapi.AuditEntry, len(rows))
	for i := range rows {
		entries[i] = operatorEntry(&rows[i])
	}
	return entries, nil
}

// NoteOperators implements ballotapi.Admin.
func (s *Server) NoteOperators(ctx context.Context, after int64, n ballotapi.Note) (*ballotapi.AuditEntry, error) {
	switch {
	case n.Actor == "":
		return nil, problem.New(problem.InvalidField).At("/actor").Because("a note needs to say who makes it")
	case n.Action == "":
		return nil, problem.New(problem.InvalidField).At("/action").Because("a note needs to say what was done")
	case !json.Valid([]byte(n.Detail)) || len(n.Detail) > ballotapi.MaxNoteDetail:
		return nil, problem.New(problem.InvalidField).At("/detail").Because("a note's detail is JSON, and not long")
	}
	var added *ballotapi.AuditEntry
	err := s.store.NoteOperators(ctx, func(tx store.Tx) error {
		added = nil
		last, err := tx.LastOperatorEntry()
		if err != nil || last.Seq != after {
			return err
		}
		now, err := tx.Now()
		if err != nil {
			return err
		}
		e := ballotapi.AuditEntry{
			Seq: after + 1, At: time.UnixMilli(now).UTC(),
			Actor: n.Actor, Action: n.Action, Reason: n.Reason, Detail: n.Detail, Prev: last.Hash,
		}
		e.Hash = e.Digest()
		added = &e
		return tx.AddOperatorEntry(store.OperatorEntry{
			Seq: e.Seq, At: now, Actor: e.Actor, Action: e.Action, Reason: e.Reason, Detail: e.Detail, Prev: filled(e.Prev), Hash: e.Hash,
		})
	})
	if errors.Is(err, store.ErrUnknown) {
		return nil, problem.Wrap(problem.OutcomeUnknown, err)
	}
	if err != nil {
		return nil, err
	}
	return added, nil
}

func operatorEntry(r *store.OperatorEntry) ballotapi.AuditEntry {
	return ballotapi.AuditEntry{
		Seq: r.Seq, At: time.UnixMilli(r.At).UTC(),
		Actor: r.Actor, Action: r.Action, Reason: r.Reason, Detail: r.Detail, Prev: r.Prev, Hash: r.Hash,
	}
}

// filled is no bytes where there are none: the first entry follows nothing, and the column is not null.
func filled(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

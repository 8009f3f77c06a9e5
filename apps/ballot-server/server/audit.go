package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/popvote/popvote/apps/ballot-server/internal/store"
	"github.com/popvote/popvote/libs/ballotapi"
)

// Audit implements ballotapi.Admin.
func (s *Server) Audit(ctx context.Context, id string) ([]ballotapi.AuditEntry, error) {
	k, err := s.known(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.chain(ctx, id, k.no)
}

func (s *Server) chain(ctx context.Context, id string, no int64) ([]ballotapi.AuditEntry, error) {
	rows, err := s.store.Audit(ctx, no)
	if err != nil {
		return nil, err
	}
	entries := make([]ballotapi.AuditEntry, len(rows))
	for i, r := range rows {
		entries[i] = ballotapi.AuditEntry{
			Seq: r.Seq, At: time.UnixMilli(r.At).UTC(), Poll: id,
			Actor: r.Actor, Action: r.Action, Reason: r.Reason, Detail: r.Detail, Prev: r.Prev, Hash: r.Hash,
		}
	}
	return entries, nil
}

// audit adds an entry to a poll's chain and moves the head in the row, which the caller saves.
func (s *Server) audit(tx store.Tx, p *store.Poll, now time.Time, action string, c ballotapi.Change, detail any) error {
	text, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("couldn't encode an audit entry: %w", err)
	}
	e := ballotapi.AuditEntry{
		Seq: p.AuditSeq + 1, At: now, Poll: p.ID,
		Actor: c.Actor, Action: action, Reason: c.Reason, Detail: string(text), Prev: p.AuditHash,
	}
	e.Hash = e.Digest()
	p.AuditSeq, p.AuditHash = e.Seq, e.Hash
	return tx.AddEntry(store.Entry{
		Poll: p.No, Seq: e.Seq, At: e.At.UnixMilli(),
		Actor: e.Actor, Action: e.Action, Reason: e.Reason, Detail: e.Detail, Prev: e.Prev, Hash: e.Hash,
	})
}

// checkAudit refuses a chain that was changed, or cut short.
func (s *Server) checkAudit(ctx context.Context, p *store.Poll) error {
	chain, err := s.chain(ctx, p.ID, p.No)
	if err != nil {
		return err
	}
	if err := ballotapi.VerifyAudit(p.ID, chain); err != nil {
		return err
	}
	if n := len(chain); n == 0 || chain[n-1].Seq != p.AuditSeq || !bytes.Equal(chain[n-1].Hash, p.AuditHash) {
		return fmt.Errorf("the audit chain of %s does not end where the poll says", p.ID)
	}
	return nil
}

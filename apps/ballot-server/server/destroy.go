package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/popvote/popvote/apps/ballot-server/internal/store"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
)

// identityKeys are the secrets that a poll's tags are made with, in the order they are destroyed: the API
// server makes the voters' first, so that the phones' missing means that none of them was ever used.
var identityKeys = []keyring.Purpose{keyring.PhoneTags, keyring.VoterTags}

// DestroyIdentityKey implements ballotapi.Admin. First the audit chain says that it is begun, then the key
// ring destroys, durably, and only then is the certificate signed: a crash leaves a destruction without a
// certificate, which doing it again adds, and never a certificate without its destruction.
func (s *Server) DestroyIdentityKey(ctx context.Context, id string, c ballotapi.Change) error {
	if c.Reason == "" {
		return problem.New(problem.InvalidField).At("/reason").Because("destroying a key needs a reason")
	}
	s.destroying.Lock()
	defer s.destroying.Unlock()
	ring, able := s.ring.(keyring.Destroyer)
	var done bool
	if k, err := s.known(ctx, id); err == nil {
		chain, err := s.chain(ctx, id, k.no)
		if err != nil {
			return err
		}
		certificate, err := ballotapi.FindCertificate(chain)
		if err != nil {
			return err
		}
		done = certificate != nil
	}
	var closed, ended time.Time
	err := s.change(ctx, id, ballotapi.ActionDestroyKey, c, func(p *store.Poll, now time.Time) (any, error) {
		if p.No == 0 {
			return nil, problem.New(problem.PollNotFound)
		}
		var err error
		if closed, ended, err = auditWindow(p); err != nil {
			return nil, err
		}
		switch state := poll.State(p.State); {
		case done:
			return nil, refused(p, "its identity key is destroyed already")
		case state == poll.Draft || state == poll.Open || state == poll.Paused:
			return nil, refused(p, "its identity key is destroyed only after the close")
		case now.Before(ended) || s.clock().Before(ended):
			return nil, refused(p, "its audit window ends at "+ended.Format(time.RFC3339)+"; until then complaints must be possible")
		case !able:
			return nil, refused(p, "the key ring in use cannot destroy secrets")
		}
		return map[string]any{"begun": true, "window_ended_at": ended}, nil
	})
	if err != nil {
		return err
	}

	certificate := ballotapi.Certificate{
		Certificate: ballotapi.CertificateKind, Poll: id, Actor: c.Actor, ClosesAt: closed, WindowEndedAt: ended,
	}
	for _, purpose := range identityKeys {
		stone, err := ring.Destroy(ctx, purpose, id)
		if errors.Is(err, keyring.ErrNoSecret) {
			return s.change(ctx, id, ballotapi.ActionDestroyKey, c, func(p *store.Poll, _ time.Time) (any, error) {
				return nil, refused(p, fmt.Sprintf("this key ring has no key %s of it: either nobody ever came to vote, or the tags were made with another ring", purpose))
			})
		}
		if err != nil {
			return fmt.Errorf("couldn't destroy the identity key of poll %s: %w", id, err)
		}
		certificate.Keys = append(certificate.Keys, ballotapi.DestroyedKey{Purpose: string(purpose), Fingerprint: stone.Fingerprint, DestroyedAt: stone.At})
	}
	return s.change(ctx, id, ballotapi.ActionKeyDestroyed, c, func(_ *store.Poll, now time.Time) (any, error) {
		certificate.IssuedAt = now
		document, err := s.signer.Sign(certificate)
		return ballotapi.CertificateDetail{Certificate: document}, err
	})
}

// auditWindow returns when a poll closes, and when its audit window ends.
func auditWindow(p *store.Poll) (closes, ends time.Time, err error) {
	var d poll.Definition
	if err := json.Unmarshal([]byte(p.Definition), &d); err != nil {
		return closes, ends, fmt.Errorf("couldn't read the poll's definition: %w", err)
	}
	closes = time.UnixMilli(p.ClosesAt).UTC()
	return closes, closes.Add(d.AuditWindow()), nil
}

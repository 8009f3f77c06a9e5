package operators

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"time"
)

// How long links work.
const (
	// InviteTTL is for one that an operator gives a colleague.
	InviteTTL = time.Hour
	// RecoveryTTL is for one that was made on the machine, for whoever stands before it.
	RecoveryTTL = 15 * time.Minute
)

// Secret is 256 random bits, base64url.
func Secret() string {
	var b [32]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Invite makes a link for somebody new, and returns its secret. The chain has its hash alone.
func (b *Book) Invite(ctx context.Context, actor string, now time.Time) (secret string, until time.Time, err error) {
	secret, until = Secret(), now.Add(InviteTTL).UTC()
	err = b.Write(ctx, func(*State) (*Entry, error) {
		return &Entry{Actor: actor, Action: LinkMade, Detail: Detail{Link: LinkID(secret), Until: &until}}, nil
	})
	return secret, until, err
}

// Recover makes a link by which an operator who has no passkey at hand registers another, or somebody of a new name
// a first one, and returns its secret. It is for whoever has the machine: every operator is told of it.
func Recover(ctx context.Context, chain Chain, name, actor, reason string, now time.Time) (secret string, until time.Time, err error) {
	if err := CheckName(name); err != nil {
		return "", time.Time{}, err
	}
	secret, until = Secret(), now.Add(RecoveryTTL).UTC()
	err = NewBook(chain, nil).Write(ctx, func(s *State) (*Entry, error) {
		d := Detail{Link: LinkID(secret), Until: &until, Name: name}
		if a, ok := s.Named(name); ok {
			d.Account, d.Name = a.ID, a.Name
		}
		return &Entry{Actor: actor, Action: RecoveryMade, Reason: reason, Detail: d}, nil
	})
	return secret, until, err
}

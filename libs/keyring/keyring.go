// Package keyring holds keys: the ring of token keys that rotates, and the secrets that do not.
package keyring

import (
	"context"
	"crypto/cipher"
	"errors"
)

// ErrUnknownVersion is a token sealed with a key that the ring does not hold.
var ErrUnknownVersion = errors.New("unknown key version")

// ErrTooOld is a ring that nobody could renew for so long that nothing more is sealed with it.
var ErrTooOld = errors.New("the token keys are too old to seal with")

// Tokens is the ring of token keys (AES-256-GCM). Safe for concurrent use; never blocks on a network.
type Tokens interface {
	// Sealing returns the newest version that every verifier has by now; or ErrTooOld, and then Opening goes on.
	Sealing() (version int, aead cipher.AEAD, err error)
	// Opening returns a version's key, or ErrUnknownVersion.
	Opening(version int) (cipher.AEAD, error)
}

// Purpose tells secrets apart; the same bytes never serve two.
type Purpose string

// The purposes of secrets. Scope is a poll's id where one key per poll is meant, else empty.
const (
	VoterTags    Purpose = "voter-tags"   // scope: poll; never rotated within it
	PhoneTags    Purpose = "phone-tags"   // scope: poll
	Verification Purpose = "verification" // keys of the verification board
	Codes        Purpose = "codes"        // MACs of six-digit codes
	Challenges   Purpose = "challenges"   // signatures of proof-of-work challenges
	Documents    Purpose = "documents"    // P-256 private scalar: manifests, receipts, results
	Checkpoints  Purpose = "checkpoints"  // Ed25519 seed: the ballot log's notes
	Requests     Purpose = "requests"     // MACs of idempotency keys and requests in the participation table
)

// Secrets gives 32-byte secrets. Safe for concurrent use.
type Secrets interface {
	// Secret returns the secret of a purpose and scope, made durably at its first use; ErrDestroyed if it
	// was destroyed. It is in memory from then on: ask each time instead of keeping it.
	Secret(ctx context.Context, purpose Purpose, scope string) ([32]byte, error)
}

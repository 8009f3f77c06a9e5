// Package trustee makes a poll's tally key and splits it among trustees, k of whom together can open
// the ballots. It is Shamir's scheme with Feldman's commitments: every share can be checked by itself
// against the public key, so a damaged or forged share is known by its number before anything is opened.
package trustee

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"github.com/cloudflare/circl/group"
	"github.com/cloudflare/circl/secretsharing"

	"github.com/popvote/popvote/libs/poll"
)

// MaxShares is the most trustees a key can be split among.
const MaxShares = 99

// curve is the tally key's; its scalars have 32 bytes, big endian.
var curve = group.P256

// ErrDifferentKeys means that shares of different keys were put together.
var ErrDifferentKeys = errors.New("the shares belong to different keys")

// TooFewError means that there are fewer shares than it takes.
type TooFewError struct{ Have, Need int }

func (e *TooFewError) Error() string {
	return fmt.Sprintf("%d of %d shares needed: %d more", e.Have, e.Need, e.Need-e.Have)
}

// WrongShareError names a share that is not what was handed out.
type WrongShareError struct {
	// Index is the share's number, from 1.
	Index  int
	Reason string
}

func (e *WrongShareError) Error() string {
	return fmt.Sprintf("share %d is wrong: %s", e.Index, e.Reason)
}

// NewKey makes a tally key: the private scalar (32 bytes) and the public key for the poll file.
func NewKey() (scalar []byte, public poll.JWK, err error) {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, poll.JWK{}, fmt.Errorf("couldn't make a tally key: %w", err)
	}
	return key.Bytes(), publicJWK(key.PublicKey()), nil
}

// PublicKey returns the public key of a private scalar (32 bytes).
func PublicKey(scalar []byte) (poll.JWK, error) {
	key, err := ecdh.P256().NewPrivateKey(scalar)
	if err != nil {
		return poll.JWK{}, fmt.Errorf("couldn't read the tally key: %w", err)
	}
	return publicJWK(key.PublicKey()), nil
}

func publicJWK(key *ecdh.PublicKey) poll.JWK {
	point := key.Bytes() // SEC 1 §2.3.3: 4, x, y
	k := poll.JWK{
		Kty: "EC", Crv: "P-256",
		X: base64.RawURLEncoding.EncodeToString(point[1:33]),
		Y: base64.RawURLEncoding.EncodeToString(point[33:]),
	}
	k.Kid = k.Thumbprint()
	return k
}

// Split shares a private scalar among n trustees, any k of whom can combine it again. Fewer learn nothing.
func Split(scalar []byte, k, n int) ([]Share, error) {
	if k < 1 || n < k || n > MaxShares {
		return nil, fmt.Errorf("couldn't split into %d of %d: it takes 1 ≤ k ≤ n ≤ %d", k, n, MaxShares)
	}
	public, err := PublicKey(scalar)
	if err != nil {
		return nil, err
	}
	secret := curve.NewScalar()
	if err := secret.UnmarshalBinary(scalar); err != nil {
		return nil, fmt.Errorf("couldn't read the tally key: %w", err)
	}
	sharing := secretsharing.New(rand.Reader, uint(k-1), secret)
	var check [][]byte
	for _, c := range sharing.CommitSecret() {
		point, err := c.MarshalBinaryCompress()
		if err != nil {
			return nil, fmt.Errorf("couldn't commit to the shares: %w", err)
		}
		check = append(check, point)
	}
	shares := make([]Share, n)
	for i, s := range sharing.Share(uint(n)) {
		value, err := s.Value.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("couldn't write share %d: %w", i+1, err)
		}
		shares[i] = Share{Type: shareType, KeyID: public.Kid, K: k, N: n, Index: i + 1, Value: value, Check: check}
	}
	return shares, nil
}

// Combine restores the private scalar (32 bytes) and checks it against the public key the shares name.
// The same share given twice counts once. Errors are *WrongShareError (joined, when several are wrong),
// ErrDifferentKeys and *TooFewError.
func Combine(shares []Share) ([]byte, error) {
	if len(shares) == 0 {
		return nil, errors.New("there are no shares to combine")
	}
	if err := checkEach(shares); err != nil {
		return nil, err
	}
	if err := checkTogether(shares); err != nil {
		return nil, err
	}
	shares = slices.Clone(shares)
	slices.SortFunc(shares, func(a, b Share) int { return a.Index - b.Index })
	// Shares that passed the same check at the same index are equal.
	shares = slices.CompactFunc(shares, func(a, b Share) bool { return a.Index == b.Index })

	first := shares[0]
	if len(shares) < first.K {
		return nil, &TooFewError{Have: len(shares), Need: first.K}
	}
	parts := make([]secretsharing.Share, len(shares))
	for i, s := range shares {
		part, err := s.part()
		if err != nil {
			return nil, err
		}
		parts[i] = part
	}
	secret, err := secretsharing.Recover(uint(first.K-1), parts)
	if err != nil {
		return nil, fmt.Errorf("couldn't combine the shares: %w", err)
	}
	scalar, err := secret.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("couldn't write the tally key: %w", err)
	}
	public, err := PublicKey(scalar)
	if err != nil {
		return nil, err
	}
	if public.Kid != first.KeyID {
		return nil, fmt.Errorf("couldn't combine the shares: they make the key %s, not %s", public.Kid, first.KeyID)
	}
	return scalar, nil
}

// checkEach names every share that does not hold by itself.
func checkEach(shares []Share) error {
	var wrong []error
	for _, s := range shares {
		if err := s.Verify(); err != nil {
			wrong = append(wrong, err)
		}
	}
	return errors.Join(wrong...)
}

// checkTogether names every share that was not handed out with the others. Each holds by itself, so the
// odd ones are those that most others disagree with.
func checkTogether(shares []Share) error {
	votes := make(map[string]int)
	for _, s := range shares {
		if s.KeyID != shares[0].KeyID {
			return fmt.Errorf("%w: share %d to %s, share %d to %s", ErrDifferentKeys, shares[0].Index, shares[0].KeyID, s.Index, s.KeyID)
		}
		votes[s.dealing()]++
	}
	if len(votes) == 1 {
		return nil
	}
	best, tie := "", false
	for dealing, n := range votes {
		switch {
		case n > votes[best]:
			best, tie = dealing, false
		case n == votes[best]:
			tie = true
		}
	}
	if tie {
		return errors.New("the shares are of one key, but were not handed out together: use those of one split only")
	}
	var wrong []error
	for _, s := range shares {
		if s.dealing() != best {
			wrong = append(wrong, &WrongShareError{Index: s.Index, Reason: "it was not handed out together with the others"})
		}
	}
	return errors.Join(wrong...)
}

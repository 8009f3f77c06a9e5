package server

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/signed"
)

func (s *Server) keys(ctx context.Context, secrets keyring.Secrets) error {
	s.ring = secrets
	scalar, err := secrets.Secret(ctx, keyring.Documents, "")
	if err != nil {
		return fmt.Errorf("couldn't get the key of documents: %w", err)
	}
	if s.signer, err = signed.NewSigner(scalar); err != nil {
		return err
	}
	seed, err := secrets.Secret(ctx, keyring.Checkpoints, "")
	if err != nil {
		return fmt.Errorf("couldn't get the key of checkpoints: %w", err)
	}
	s.notes = ed25519.NewKeyFromSeed(seed[:])
	if s.requests, err = secrets.Secret(ctx, keyring.Requests, ""); err != nil {
		return fmt.Errorf("couldn't get the key of requests: %w", err)
	}
	return nil
}

// origin is the name of a poll's log (C2SP tlog-checkpoint), and of the key that signs it.
func origin(poll string) string { return "popvote/" + poll }

// logKey is the verifier key of a poll's log (C2SP signed-note).
func (s *Server) logKey(poll string) (string, error) {
	key, err := note.NewEd25519VerifierKey(origin(poll), s.notes.Public().(ed25519.PublicKey))
	if err != nil {
		return "", fmt.Errorf("couldn't name the key of the log: %w", err)
	}
	return key, nil
}

// noteSigner signs as the log of a poll.
func (s *Server) noteSigner(poll string) (note.Signer, error) {
	verifier, err := s.logKey(poll)
	if err != nil {
		return nil, err
	}
	// Signer keys have the verifier key's form: name, hash, then algorithm (1, Ed25519) and seed.
	// The key's own base64 may hold a plus; names and hashes do not.
	parts := strings.SplitN(verifier, "+", 3)
	prefix := parts[0] + "+" + parts[1] + "+"
	secret := append([]byte{1}, s.notes.Seed()...)
	signer, err := note.NewSigner("PRIVATE+KEY+" + prefix + base64.StdEncoding.EncodeToString(secret))
	if err != nil {
		return nil, fmt.Errorf("couldn't use the key of the log: %w", err)
	}
	return signer, nil
}

// request hashes an Idempotency-Key, by itself and with the sealed ballot, for the participation table.
// The hashes are keyed: with plain ones, whoever has the database could try weak keys against the
// sealed ballots, and join a voter's row to a ballot. They are cut to 128 bits, which is as unlikely to
// collide as a random Idempotency-Key is.
func (s *Server) request(poll, key string, sealed []byte) (keyHash, reqHash [16]byte) {
	mac := hmac.New(sha256.New, s.requests[:])
	// Neither a poll's id nor a key holds a zero byte.
	mac.Write([]byte(poll))
	mac.Write([]byte{0})
	mac.Write([]byte(key))
	var sum [sha256.Size]byte
	copy(keyHash[:], mac.Sum(sum[:0]))
	mac.Write([]byte{0})
	mac.Write(sealed)
	copy(reqHash[:], mac.Sum(sum[:0]))
	return keyHash, reqHash
}

package server

import (
	"crypto/ed25519"
	"crypto/sha256"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// A verifier key ends in base64, which may hold the plus that separates its parts: about half of all
// keys do.
func TestEveryLogKeySigns(t *testing.T) {
	for n := range byte(64) {
		seed := sha256.Sum256([]byte{n})
		s := &Server{notes: ed25519.NewKeyFromSeed(seed[:])}
		signer, err := s.noteSigner("lunch")
		if err != nil {
			t.Fatalf("key %d: %v", n, err)
		}
		key, err := s.logKey("lunch")
		if err != nil {
			t.Fatal(err)
		}
		verifier, err := note.NewVerifier(key)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := note.Sign(&note.Note{Text: "popvote/lunch\n0\nroot\n"}, signer)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := note.Open(signed, note.VerifierList(verifier)); err != nil {
			t.Errorf("key %d: %v", n, err)
		}
	}
}

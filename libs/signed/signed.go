// Package signed makes and checks signed documents: JSON with a JWS (RFC 7515 compact, ES256) whose
// payload is the document's exact bytes.
package signed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"

	"github.com/popvote/popvote/libs/jwk"
	"github.com/popvote/popvote/libs/poll"
)

// ErrInvalid is a signature that is not by the key, or not over these bytes.
var ErrInvalid = errors.New("the signature does not verify")

// Document is a signed JSON document as it travels. Readers trust the payload of JWS, never Plain.
type Document struct {
	Plain json.RawMessage `json:"document"`
	JWS   string          `json:"jws"`
}

// Open checks the signature and decodes the signed payload into a value; Plain is not looked at. It
// returns the payload's exact bytes.
func (d Document) Open(key poll.JWK, into any) ([]byte, error) {
	payload, err := Verify(d.JWS, key)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(payload, into); err != nil {
		return nil, fmt.Errorf("couldn't read a signed document: %w", err)
	}
	return payload, nil
}

// Signer signs with one P-256 key. Safe for concurrent use.
type Signer struct {
	key    poll.JWK
	signer jose.Signer
}

// NewSigner returns a signer for a private scalar (big-endian; 0 < scalar < the group's order).
func NewSigner(scalar [32]byte) (*Signer, error) {
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar[:])
	if err != nil {
		return nil, fmt.Errorf("couldn't use a signing key: %w", err)
	}
	key := jwk.FromECDSA(&private.PublicKey)
	signer, err := jose.NewSigner(jose.SigningKey{
		Algorithm: jose.ES256,
		Key:       jose.JSONWebKey{Key: private, KeyID: key.Kid},
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("couldn't use a signing key: %w", err)
	}
	return &Signer{key: key, signer: signer}, nil
}

// Key is the public key that verifies what the signer signs.
func (s *Signer) Key() poll.JWK { return s.key }

// Sign encodes a value as JSON and signs those bytes.
func (s *Signer) Sign(v any) (Document, error) {
	payload, err := json.Marshal(v)
	if err != nil {
		return Document{}, fmt.Errorf("couldn't encode a document: %w", err)
	}
	jws, err := s.SignPayload(payload)
	if err != nil {
		return Document{}, err
	}
	return Document{Plain: payload, JWS: jws}, nil
}

// SignPayload signs bytes; its header says alg (ES256) and kid (the key's thumbprint), no more.
func (s *Signer) SignPayload(payload []byte) (string, error) {
	object, err := s.signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("couldn't sign a document: %w", err)
	}
	jws, err := object.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("couldn't write a signature: %w", err)
	}
	return jws, nil
}

// Verify checks a compact ES256 JWS by the key and returns what was signed. Every other algorithm,
// serialization and key is ErrInvalid.
func Verify(jws string, key poll.JWK) ([]byte, error) {
	public, err := jwk.PublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("couldn't use a verifying key: %w", err)
	}
	object, err := jose.ParseSignedCompact(jws, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return nil, fmt.Errorf("%w: not a compact ES256 JWS", ErrInvalid)
	}
	if kid := object.Signatures[0].Protected.KeyID; kid != key.Kid {
		return nil, fmt.Errorf("%w: signed by key %q, want %q", ErrInvalid, kid, key.Kid)
	}
	payload, err := object.Verify(public)
	if err != nil {
		return nil, fmt.Errorf("%w: made by another key, or over other bytes", ErrInvalid)
	}
	return payload, nil
}

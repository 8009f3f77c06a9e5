package ballotlog

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"golang.org/x/mod/sumdb/note"
)

const (
	// cosignatureV1 is the signature type of a timestamped Ed25519 cosignature (C2SP signed-note).
	cosignatureV1 = 0x04
	privatePrefix = "PRIVATE+KEY+"
	// stampSize is the length of the time in front of a cosignature, bytes.
	stampSize = 8
)

// Cosigner cosigns checkpoints (C2SP tlog-cosignature, cosignature/v1). It implements note.Signer. Safe for
// concurrent use.
type Cosigner struct {
	name  string
	key   ed25519.PrivateKey
	clock func() time.Time
}

// NewCosigner makes a new key of a name: without spaces or plus signs, best a domain and path of the
// witness's own, such as "witness.example.hk/1".
func NewCosigner(name string, clock func() time.Time) (*Cosigner, error) {
	if !validName(name) {
		return nil, fmt.Errorf("couldn't make a key for %q: a name has no spaces and no plus signs", name)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("couldn't make a key: %w", err)
	}
	return &Cosigner{name, key, clock}, nil
}

// ParseCosigner reads what PrivateKey wrote.
func ParseCosigner(text string, clock func() time.Time) (*Cosigner, error) {
	text, ok := strings.CutPrefix(strings.TrimSpace(text), privatePrefix)
	if !ok {
		return nil, errors.New("this is not the key of a witness")
	}
	name, hash, seed, err := parseKey(text)
	if err != nil {
		return nil, fmt.Errorf("this is not the key of a witness: %w", err)
	}
	c := &Cosigner{name, ed25519.NewKeyFromSeed(seed), clock}
	if c.KeyHash() != hash {
		return nil, errors.New("this is not the key of a witness: its check does not fit")
	}
	return c, nil
}

// PrivateKey is the key as text, to be kept secret: the form of the verifier key, with the seed in it.
func (c *Cosigner) PrivateKey() string { return privatePrefix + c.text(c.key.Seed()) }

// VerifierKey is the public key, to be announced (C2SP signed-note vkey, type 4).
func (c *Cosigner) VerifierKey() string { return c.text(c.public()) }

func (c *Cosigner) text(key []byte) string {
	return fmt.Sprintf("%s+%08x+%s", c.name, c.KeyHash(), base64.StdEncoding.EncodeToString(append([]byte{cosignatureV1}, key...)))
}

func (c *Cosigner) public() ed25519.PublicKey { return c.key.Public().(ed25519.PublicKey) }

// Name implements note.Signer.
func (c *Cosigner) Name() string { return c.name }

// KeyHash implements note.Signer.
func (c *Cosigner) KeyHash() uint32 { return keyHash(c.name, c.public()) }

// Sign implements note.Signer: the time (seconds, 8 bytes) and the signature over it and the checkpoint.
func (c *Cosigner) Sign(checkpoint []byte) ([]byte, error) {
	now := uint64(c.clock().Unix())
	sig := binary.BigEndian.AppendUint64(nil, now)
	return append(sig, ed25519.Sign(c.key, cosigned(now, checkpoint))...), nil
}

// Verifier verifies what the cosigner signs.
func (c *Cosigner) Verifier() *CosignatureVerifier { return &CosignatureVerifier{c.name, c.public()} }

// Cosign adds a cosignature to a checkpoint that was opened, in place of an older one by the same key.
func (c *Cosigner) Cosign(checkpoint *Checkpoint) ([]byte, error) {
	signed, err := note.Sign(checkpoint.note, c)
	if err != nil {
		return nil, fmt.Errorf("couldn't cosign the checkpoint: %w", err)
	}
	return signed, nil
}

// CosignatureVerifier verifies the cosignatures of one witness. It implements note.Verifier.
type CosignatureVerifier struct {
	name string
	key  ed25519.PublicKey
}

// NewCosignatureVerifier reads a witness's verifier key.
func NewCosignatureVerifier(vkey string) (*CosignatureVerifier, error) {
	name, hash, key, err := parseKey(vkey)
	if err != nil {
		return nil, fmt.Errorf("this is not the verifier key of a witness: %w", err)
	}
	if keyHash(name, key) != hash {
		return nil, errors.New("this is not the verifier key of a witness: its hash does not fit")
	}
	return &CosignatureVerifier{name, key}, nil
}

// Name implements note.Verifier.
func (v *CosignatureVerifier) Name() string { return v.name }

// KeyHash implements note.Verifier.
func (v *CosignatureVerifier) KeyHash() uint32 { return keyHash(v.name, v.key) }

// Verify implements note.Verifier.
func (v *CosignatureVerifier) Verify(checkpoint, sig []byte) bool {
	if len(sig) != stampSize+ed25519.SignatureSize {
		return false
	}
	return ed25519.Verify(v.key, cosigned(binary.BigEndian.Uint64(sig), checkpoint), sig[stampSize:])
}

// Time is when the witness cosigned, by its own clock. The checkpoint must have been opened with v.
func (v *CosignatureVerifier) Time(c *Checkpoint) (time.Time, error) {
	for _, s := range c.note.Sigs {
		if s.Name != v.name || s.Hash != v.KeyHash() {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(s.Base64)
		if err != nil || len(raw) < 4+stampSize { // the key's hash, then the time
			break
		}
		return time.Unix(int64(binary.BigEndian.Uint64(raw[4:])), 0), nil
	}
	return time.Time{}, fmt.Errorf("%w: the signature of %s is missing", ErrNotGenuine, v.name)
}

// cosigned is what a cosignature is over.
func cosigned(at uint64, checkpoint []byte) []byte {
	return append(fmt.Appendf(nil, "cosignature/v1\ntime %d\n", at), checkpoint...)
}

func keyHash(name string, key ed25519.PublicKey) uint32 {
	sum := sha256.Sum256(append([]byte(name+"\n\x04"), key...))
	return binary.BigEndian.Uint32(sum[:])
}

// parseKey reads "<name>+<hash>+<base64 of the type and 32 bytes>".
func parseKey(text string) (name string, hash uint32, key []byte, err error) {
	parts := strings.SplitN(text, "+", 3) // the base64 may hold a plus
	if len(parts) != 3 || !validName(parts[0]) {
		return "", 0, nil, errors.New("it is not name+hash+key")
	}
	sum, err := hex.DecodeString(parts[1])
	if err != nil || len(sum) != 4 {
		return "", 0, nil, errors.New("its hash is not eight hex digits")
	}
	key, err = base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 1+ed25519.PublicKeySize || key[0] != cosignatureV1 {
		return "", 0, nil, errors.New("its key is not one for cosignatures (type 4)")
	}
	return parts[0], binary.BigEndian.Uint32(sum), key[1:], nil
}

func validName(name string) bool {
	return name != "" && !strings.Contains(name, "+") && strings.IndexFunc(name, unicode.IsSpace) < 0
}

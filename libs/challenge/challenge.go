// Package challenge sets and checks proofs of work in the wire form of ALTCHA's second version
// (PBKDF2/SHA-256), so that its solvers work with it. The server keeps nothing: a challenge carries
// its own signature.
package challenge

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// What can be wrong with a solved challenge.
var (
	ErrInvalid = errors.New("not a solved challenge of ours")
	ErrExpired = errors.New("the challenge has expired")
)

const (
	// TTL is how long a challenge is good for.
	TTL = 5 * time.Minute
	// DefaultCost takes a phone a fraction of a second; the server checks it in that over 256.
	DefaultCost = 1000
	// MaxCost bounds what a check can cost the server.
	MaxCost = 200_000

	algorithm = "PBKDF2/SHA-256"
	keyLength = 32
	// workPrefix is what the derived key has to begin with: one counter in 256 has it.
	workPrefix = "00"
	// longest is what the API lets through; longer payloads are not even decoded.
	longest = 4096
)

// Challenge is what a client has to solve.
type Challenge struct {
	Parameters Parameters `json:"parameters"`
	// Signature is HMAC-SHA-256 over the parameters' JSON, hex.
	Signature string `json:"signature"`
}

// Parameters are the puzzle: find a counter for which PBKDF2 over nonce and counter (32 bits,
// big-endian), with the salt and cost iterations, begins with the prefix. Members are in alphabetical
// order, because the signature is over their JSON in that order.
type Parameters struct {
	Algorithm string `json:"algorithm"`
	Cost      int    `json:"cost"`
	// ExpiresAt is in Unix seconds.
	ExpiresAt int64  `json:"expiresAt"`
	KeyLength int    `json:"keyLength"`
	KeyPrefix string `json:"keyPrefix"`
	Nonce     string `json:"nonce"`
	Salt      string `json:"salt"`
}

// Map is the parameters as loose JSON, the way the generated API types hold them.
func (p Parameters) Map() map[string]any {
	return map[string]any{
		"algorithm": p.Algorithm,
		"cost":      p.Cost,
		"expiresAt": p.ExpiresAt,
		"keyLength": p.KeyLength,
		"keyPrefix": p.KeyPrefix,
		"nonce":     p.Nonce,
		"salt":      p.Salt,
	}
}

// payload is what a client sends back, in base64.
type payload struct {
	Challenge Challenge `json:"challenge"`
	Solution  solution  `json:"solution"`
}

type solution struct {
	Counter uint32 `json:"counter"`
	// DerivedKey is the key the counter gives, hex.
	DerivedKey string `json:"derivedKey"`
}

// Issuer sets challenges and checks them. Every server with the same secret checks what any of them
// set. Safe for concurrent use.
type Issuer struct {
	key   []byte
	clock func() time.Time
}

// NewIssuer returns an issuer. The secret signs as hexadecimal text, because ALTCHA's own library
// takes keys as text.
func NewIssuer(secret [32]byte, clock func() time.Time) *Issuer {
	return &Issuer{key: hex.AppendEncode(nil, secret[:]), clock: clock}
}

// Issue sets a challenge. Its work is 256 times cost iterations of PBKDF2 on average; cost 0 is no work
// at all: any solver's first try is right.
func (i *Issuer) Issue(cost int) Challenge {
	prefix := workPrefix
	if cost <= 0 {
		cost, prefix = 1, ""
	}
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails: it ends the program instead
	p := Parameters{
		Algorithm: algorithm,
		Cost:      min(cost, MaxCost),
		ExpiresAt: i.clock().Add(TTL).Unix(),
		KeyLength: keyLength,
		KeyPrefix: prefix,
		Nonce:     hex.EncodeToString(random[:16]),
		Salt:      hex.EncodeToString(random[16:]),
	}
	return Challenge{Parameters: p, Signature: i.sign(p)}
}

// Solved is a challenge of ours that has not expired, with a solution that looks like one.
type Solved struct {
	// ID is the challenge's own and good for one session: whoever takes the solution spends it until it
	// Expires.
	ID      string
	Expires time.Time

	parameters Parameters
	solution   solution
}

// Read reads a solved challenge and does all checks but the dear one, so that forged, stale and unsolved
// ones cost microseconds.
func (i *Issuer) Read(text string) (Solved, error) {
	if len(text) > longest {
		return Solved{}, ErrInvalid
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return Solved{}, fmt.Errorf("%w: not base64", ErrInvalid)
	}
	var sent payload
	if err := json.Unmarshal(raw, &sent); err != nil {
		return Solved{}, fmt.Errorf("%w: not a payload", ErrInvalid)
	}
	p := sent.Challenge.Parameters
	// What is signed is what was understood, written anew: nothing else that was sent is used.
	if !hmac.Equal([]byte(sent.Challenge.Signature), []byte(i.sign(p))) {
		return Solved{}, fmt.Errorf("%w: its signature is not ours", ErrInvalid)
	}
	expires := time.Unix(p.ExpiresAt, 0)
	if !i.clock().Before(expires) {
		return Solved{}, ErrExpired
	}
	if !strings.HasPrefix(sent.Solution.DerivedKey, p.KeyPrefix) {
		return Solved{}, fmt.Errorf("%w: not enough work", ErrInvalid)
	}
	return Solved{ID: p.Nonce, Expires: expires, parameters: p, solution: sent.Solution}, nil
}

// Check derives the key again: one try's work, at the cost that the challenge asked for.
func (s Solved) Check() error {
	key, err := derive(s.parameters, s.solution.Counter)
	if err != nil || s.solution.DerivedKey != hex.EncodeToString(key) {
		return fmt.Errorf("%w: the counter does not give this key", ErrInvalid)
	}
	return nil
}

// Verify is Read and Check.
func (i *Issuer) Verify(text string) (id string, expires time.Time, err error) {
	solved, err := i.Read(text)
	if err == nil {
		err = solved.Check()
	}
	if err != nil {
		return "", time.Time{}, err
	}
	return solved.ID, solved.Expires, nil
}

func (i *Issuer) sign(p Parameters) string {
	text, err := json.Marshal(p)
	if err != nil {
		panic("challenge: parameters are strings and numbers: " + err.Error())
	}
	mac := hmac.New(sha256.New, i.key)
	mac.Write(text)
	return hex.EncodeToString(mac.Sum(nil))
}

// derive returns the key of a counter.
func derive(p Parameters, counter uint32) ([]byte, error) {
	nonce, err := hex.DecodeString(p.Nonce)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the nonce: %w", err)
	}
	salt, err := hex.DecodeString(p.Salt)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the salt: %w", err)
	}
	if p.Algorithm != algorithm || p.KeyLength != keyLength || p.Cost < 1 || p.Cost > MaxCost {
		return nil, fmt.Errorf("couldn't derive a key: algorithm %q, cost %d and key length %d are not ours", p.Algorithm, p.Cost, p.KeyLength)
	}
	password := string(binary.BigEndian.AppendUint32(nonce, counter))
	return pbkdf2.Key(sha256.New, password, salt, p.Cost, p.KeyLength)
}

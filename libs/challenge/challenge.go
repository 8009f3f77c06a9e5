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
	"net/netip"
	"slices"
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
	// usualZeros begin the derived key of one counter in 256.
	usualZeros = 2
	// leastIterations of one try keep what a browser spends around each of them small.
	leastIterations = 200
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

// Puzzle is how much work a challenge asks for.
type Puzzle struct {
	// Iterations of PBKDF2 are one try, and so what a check costs the server.
	Iterations int
	// Zeros, hexadecimal, begin the key that is searched for: one try in 16 to their power finds one.
	Zeros int
}

// Usual is 256 tries, on average, of cost iterations. Cost 0 is no work at all: any solver's first try is right.
func Usual(cost int) Puzzle {
	if cost <= 0 {
		return Puzzle{Iterations: 1}
	}
	return Puzzle{Iterations: min(cost, MaxCost), Zeros: usualZeros}
}

// Times is a puzzle of n times the work, n from 1 to 16, that costs the server no more to check: there are more
// tries, and each is shorter. Only where that would make them too short are they longer instead, which a check
// then costs at most 3,200 iterations.
func (p Puzzle) Times(n int) Puzzle {
	if n <= 1 || p.Zeros == 0 {
		return p
	}
	if shorter := p.Iterations * n / 16; shorter >= leastIterations {
		return Puzzle{Iterations: shorter, Zeros: p.Zeros + 1}
	}
	return Puzzle{Iterations: p.Iterations * n, Zeros: p.Zeros}
}

// Work is the iterations that solving takes on average.
func (p Puzzle) Work() int { return p.Iterations << (4 * min(p.Zeros, 8)) }

// Issue sets a challenge of the usual work for whoever asks.
func (i *Issuer) Issue(cost int) Challenge { return i.Set(Usual(cost), netip.Prefix{}) }

// Set sets a challenge for a client's network. Which one does not show: it is in the salt, under the key.
func (i *Issuer) Set(puzzle Puzzle, network netip.Prefix) Challenge {
	return i.set(puzzle, markNetwork, network)
}

// SetAlone is Set for a challenge that is enough by itself, where another check would be asked for as well. That shows
// no more than the network does.
func (i *Issuer) SetAlone(puzzle Puzzle, network netip.Prefix) Challenge {
	return i.set(puzzle, markAlone, network)
}

// The kinds of marks in a salt. No challenge's JSON begins so.
const (
	markNetwork = "network"
	markAlone   = "alone"
)

func (i *Issuer) set(puzzle Puzzle, kind string, network netip.Prefix) Challenge {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails: it ends the program instead
	nonce, salt := hex.EncodeToString(random[:16]), random[16:]
	if network.IsValid() {
		i.mark(salt, kind, nonce, network)
	}
	p := Parameters{
		Algorithm: algorithm,
		Cost:      puzzle.Iterations,
		ExpiresAt: i.clock().Add(TTL).Unix(),
		KeyLength: keyLength,
		KeyPrefix: strings.Repeat("0", puzzle.Zeros),
		Nonce:     nonce,
		Salt:      hex.EncodeToString(salt),
	}
	return Challenge{Parameters: p, Signature: i.sign(p)}
}

// mark writes the network into the second half of a salt.
func (i *Issuer) mark(salt []byte, kind, nonce string, network netip.Prefix) {
	mac := hmac.New(sha256.New, i.key)
	_, _ = fmt.Fprintf(mac, "%s %s %s", kind, nonce, network)
	copy(salt[len(salt)/2:], mac.Sum(nil))
}

// Solved is a challenge of ours that has not expired, with a solution that looks like one.
type Solved struct {
	// ID is the challenge's own and good for one session: whoever takes the solution spends it until it
	// Expires.
	ID      string
	Expires time.Time

	parameters Parameters
	solution   solution
	issuer     *Issuer
}

// Work is the iterations that the challenge takes on average.
func (s Solved) Work() int {
	return Puzzle{Iterations: s.parameters.Cost, Zeros: len(s.parameters.KeyPrefix)}.Work()
}

// SetFor says whether the challenge was set for this network.
func (s Solved) SetFor(network netip.Prefix) bool {
	return s.marked(markNetwork, network) || s.Alone(network)
}

// Alone says whether the challenge was set for this network, and to be enough by itself.
func (s Solved) Alone(network netip.Prefix) bool { return s.marked(markAlone, network) }

func (s Solved) marked(kind string, network netip.Prefix) bool {
	salt, err := hex.DecodeString(s.parameters.Salt)
	if err != nil {
		return false
	}
	want := slices.Clone(salt)
	s.issuer.mark(want, kind, s.parameters.Nonce, network)
	return hmac.Equal(salt, want)
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
	return Solved{ID: p.Nonce, Expires: expires, parameters: p, solution: sent.Solution, issuer: i}, nil
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

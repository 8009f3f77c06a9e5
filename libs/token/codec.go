package token

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/popvote/popvote/libs/keyring"
)

// What can be wrong with a token.
var (
	ErrInvalid = errors.New("not an access token of ours")
	ErrExpired = errors.New("the access token has expired")
)

const (
	// purpose keeps whatever else the ring's keys seal from being taken for an access token.
	purpose = "popvote access token"
	prefix  = "vault:v"
	// longest is what the API lets through; longer text is not even decoded.
	longest = 2048
	nonce   = 12
)

// encode is a session as it is sealed: texts with their length before them, tags, and times in
// nanoseconds since 1970, so that all tokens of a kind have one length.
func encode(s *Session) ([]byte, error) {
	b := cryptobyte.NewBuilder(make([]byte, 0, 256))
	for _, text := range []string{s.ID, s.Poll, string(s.Step), s.Channel, s.Lang, s.SealedPhone} {
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(text)) })
	}
	for _, tag := range [][32]byte{s.Voter, s.Phone, s.Await} {
		b.AddBytes(tag[:])
	}
	b.AddUint64(uint64(s.Started.UnixNano())) //nolint:gosec // and back
	b.AddUint64(uint64(s.Expires.UnixNano())) //nolint:gosec // and back
	return b.Bytes()
}

// decode is the other way; false for anything that encode doesn't write.
func decode(plain []byte) (s Session, ok bool) {
	rest := cryptobyte.String(plain)
	text := func() string {
		var t cryptobyte.String
		ok = ok && rest.ReadUint16LengthPrefixed(&t)
		return string(t)
	}
	at := func() time.Time {
		var ns uint64
		ok = ok && rest.ReadUint64(&ns)
		return time.Unix(0, int64(ns)).UTC() //nolint:gosec // and back
	}
	ok = true
	s.ID, s.Poll, s.Step, s.Channel, s.Lang, s.SealedPhone = text(), text(), Step(text()), text(), text(), text()
	for _, tag := range []*[32]byte{(*[32]byte)(&s.Voter), (*[32]byte)(&s.Phone), (*[32]byte)(&s.Await)} {
		ok = ok && rest.CopyBytes(tag[:])
	}
	s.Started, s.Expires = at(), at()
	return s, ok && rest.Empty()
}

// Codec seals and opens access tokens. Safe for concurrent use; it never waits.
//
// A token is "<poll>." and a ciphertext in the form of Vault's transit engine,
// "vault:v<version>:" and base64 of nonce, ciphertext and tag (AES-256-GCM), so that Vault opens our
// tokens and we open Vault's. Purpose, key version and poll are its associated data: a token of one
// poll is none in another.
type Codec struct {
	keys keyring.Tokens
}

// NewCodec returns a codec over a ring.
func NewCodec(keys keyring.Tokens) *Codec { return &Codec{keys: keys} }

// Seal makes the token of a session.
func (c *Codec) Seal(s Session) (string, error) {
	plain, err := encode(&s)
	if err != nil {
		return "", fmt.Errorf("couldn't encode a session: %w", err)
	}
	version, aead, err := c.keys.Sealing()
	if err != nil {
		return "", fmt.Errorf("couldn't seal a session: %w", err)
	}
	return string(seal([]byte(s.Poll+"."), version, aead, plain, associated(version, s.Poll))), nil
}

// Ready says whether Seal would seal: nil, or keyring.ErrTooOld. Who is about to do what only a new token makes
// good asks before.
func (c *Codec) Ready() error {
	_, _, err := c.keys.Sealing()
	return err
}

// Open returns the session of a token: ErrInvalid for what the ring did not seal for the poll it
// names, ErrExpired from the instant it expires.
func (c *Codec) Open(token string, now time.Time) (Session, error) {
	if len(token) > longest {
		return Session{}, ErrInvalid
	}
	poll, text, ok := strings.Cut(token, ".")
	if !ok {
		return Session{}, ErrInvalid
	}
	version, body, err := parse(text)
	if err != nil {
		return Session{}, err
	}
	plain, err := c.open(version, body, associated(version, poll))
	if err != nil {
		return Session{}, err
	}
	s, ok := decode(plain)
	switch {
	case !ok:
		return Session{}, fmt.Errorf("%w: it holds no session", ErrInvalid)
	case s.Poll != poll:
		return Session{}, fmt.Errorf("%w: it names two polls", ErrInvalid)
	}
	if !now.Before(s.Expires) {
		return Session{}, ErrExpired
	}
	return s, nil
}

// SealBytes seals any bytes into the bare transit form, with associated data.
func (c *Codec) SealBytes(plain, associated []byte) (string, error) {
	version, aead, err := c.keys.Sealing()
	if err != nil {
		return "", fmt.Errorf("couldn't seal: %w", err)
	}
	return string(seal(nil, version, aead, plain, associated)), nil
}

// OpenBytes opens the bare transit form.
func (c *Codec) OpenBytes(text string, associated []byte) ([]byte, error) {
	version, body, err := parse(text)
	if err != nil {
		return nil, err
	}
	return c.open(version, body, associated)
}

// seal appends the transit form to dst.
func seal(dst []byte, version int, aead cipher.AEAD, plain, associated []byte) []byte {
	sealed := make([]byte, nonce, nonce+len(plain)+aead.Overhead())
	_, _ = rand.Read(sealed) // never fails: it ends the program instead
	sealed = aead.Seal(sealed, sealed, plain, associated)
	dst = append(dst, prefix...)
	dst = strconv.AppendInt(dst, int64(version), 10)
	dst = append(dst, ':')
	return base64.StdEncoding.AppendEncode(dst, sealed)
}

// parse takes the transit form apart. One ciphertext has one spelling: a version has no leading zero,
// base64 no line breaks and no stray bits.
func parse(text string) (version int, body string, err error) {
	rest, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return 0, "", ErrInvalid
	}
	digits, body, ok := strings.Cut(rest, ":")
	if !ok || len(digits) > 9 || strings.ContainsAny(body, "\r\n") {
		return 0, "", ErrInvalid
	}
	version, err = strconv.Atoi(digits)
	if err != nil || version < 1 || strconv.Itoa(version) != digits {
		return 0, "", ErrInvalid
	}
	return version, body, nil
}

func (c *Codec) open(version int, body string, associated []byte) ([]byte, error) {
	sealed, err := base64.StdEncoding.Strict().DecodeString(body)
	if err != nil || len(sealed) < nonce {
		return nil, ErrInvalid
	}
	aead, err := c.keys.Opening(version)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	// In place: the ciphertext is of no use any more.
	plain, err := aead.Open(sealed[nonce:nonce], sealed[:nonce], sealed[nonce:], associated)
	if err != nil {
		return nil, ErrInvalid
	}
	return plain, nil
}

func associated(version int, poll string) []byte {
	a := make([]byte, 0, 64)
	a = append(a, purpose+"\x00v"...)
	a = strconv.AppendInt(a, int64(version), 10)
	a = append(a, 0)
	return append(a, poll...)
}

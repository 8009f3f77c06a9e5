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

	"github.com/fxamacker/cbor/v2"

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

// claims is a session as it is sealed: a CBOR array (RFC 8949), which takes a third of JSON's bytes, and a
// tenth of its time on the way to a cast. Times are nanoseconds since 1970, so that all tokens of a kind
// have one length.
type claims struct {
	_           struct{} `cbor:",toarray"`
	ID          string
	Poll        string
	Step        Step
	Voter       []byte
	Phone       []byte
	Channel     string
	Lang        string
	Started     int64
	Expires     int64
	Await       []byte
	SealedPhone string
}

// session is what the claims say.
func (c *claims) session() (Session, error) {
	s := Session{
		ID: c.ID, Poll: c.Poll, Step: c.Step, Channel: c.Channel, Lang: c.Lang,
		Started: time.Unix(0, c.Started).UTC(), Expires: time.Unix(0, c.Expires).UTC(), SealedPhone: c.SealedPhone,
	}
	if copy(s.Voter[:], c.Voter) < len(s.Voter) || copy(s.Phone[:], c.Phone) < len(s.Phone) || copy(s.Await[:], c.Await) < len(s.Await) {
		return Session{}, fmt.Errorf("%w: it holds a short tag", ErrInvalid)
	}
	return s, nil
}

var (
	encoding = must(cbor.CoreDetEncOptions().EncMode())
	decoding = must(cbor.DecOptions{IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden}.DecMode())
)

// must is for options that are constants.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
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
	plain, err := encoding.Marshal(claims{
		ID: s.ID, Poll: s.Poll, Step: s.Step, Voter: s.Voter[:], Phone: s.Phone[:], Channel: s.Channel, Lang: s.Lang,
		Started: s.Started.UnixNano(), Expires: s.Expires.UnixNano(), Await: s.Await[:], SealedPhone: s.SealedPhone,
	})
	if err != nil {
		return "", fmt.Errorf("couldn't encode a session: %w", err)
	}
	version, aead := c.keys.Sealing()
	return string(seal([]byte(s.Poll+"."), version, aead, plain, associated(version, s.Poll))), nil
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
	var said claims
	if err := decoding.Unmarshal(plain, &said); err != nil {
		return Session{}, fmt.Errorf("%w: it holds no session", ErrInvalid)
	}
	if said.Poll != poll {
		return Session{}, fmt.Errorf("%w: it names two polls", ErrInvalid)
	}
	s, err := said.session()
	if err != nil {
		return Session{}, err
	}
	if !now.Before(s.Expires) {
		return Session{}, ErrExpired
	}
	return s, nil
}

// SealBytes seals any bytes into the bare transit form, with associated data.
func (c *Codec) SealBytes(plain, associated []byte) (string, error) {
	version, aead := c.keys.Sealing()
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

// Package captcha asks clients that can do no proof of work for six digits which a person can see or hear.
// The server keeps nothing: a ticket carries its own signature, and its digits follow from it under the
// server's key, so that they are neither in the page nor in the address of the picture.
package captcha

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/dchest/captcha"
	"golang.org/x/text/unicode/norm"

	"github.com/popvote/popvote/libs/ratelimit"
)

// What can be wrong with a ticket.
var (
	ErrInvalid = errors.New("not a captcha of ours for this client and purpose")
	ErrExpired = errors.New("the captcha has expired")
)

const (
	// TTL is how long a ticket is good for: time to type two numbers, and to listen twice.
	TTL = 10 * time.Minute
	// Digits is how many there are. Each ticket takes one answer, so guessing succeeds once in a million.
	Digits = 6

	nonceSize  = 16
	signedSize = nonceSize + 8
	macSize    = sha256.Size
)

// Languages are those the digits are spoken in.
var Languages = []string{"en", "zh"}

// Issuer makes tickets and reads them. Every server with the same secret reads what any of them made. Safe
// for concurrent use.
type Issuer struct {
	key   []byte
	clock func() time.Time
}

// NewIssuer returns an issuer. The secret may serve other purposes too: the key is derived from it.
func NewIssuer(secret [32]byte, clock func() time.Time) *Issuer {
	return &Issuer{key: mac(secret[:], "popvote captcha v1"), clock: clock}
}

// Issue returns a ticket for one purpose (such as a session in one poll) and the client's network.
func (i *Issuer) Issue(purpose string, client netip.Addr) string {
	signed := make([]byte, signedSize, signedSize+macSize)
	_, _ = rand.Read(signed[:nonceSize]) // never fails: it ends the program instead
	binary.BigEndian.PutUint64(signed[nonceSize:], uint64(i.clock().Add(TTL).Unix()))
	return base64.RawURLEncoding.EncodeToString(append(signed, i.sign(signed, purpose, client)...))
}

// Question is what a ticket asks for.
type Question struct {
	// ID is good for one answer, right or wrong: whoever takes one spends it until Expires.
	ID      string
	Expires time.Time

	ticket string
	digits []byte // each 0 to 9
}

// Open reads a ticket. It refuses those of another purpose or another client's network.
func (i *Issuer) Open(ticket, purpose string, client netip.Addr) (*Question, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(ticket)
	if err != nil || len(raw) != signedSize+macSize {
		return nil, fmt.Errorf("%w: not a ticket", ErrInvalid)
	}
	signed := raw[:signedSize]
	if !hmac.Equal(raw[signedSize:], i.sign(signed, purpose, client)) {
		return nil, fmt.Errorf("%w: the signature does not hold", ErrInvalid)
	}
	expires := time.Unix(int64(binary.BigEndian.Uint64(signed[nonceSize:])), 0)
	if !i.clock().Before(expires) {
		return nil, ErrExpired
	}
	q := &Question{ID: "captcha-" + hex.EncodeToString(signed[:nonceSize]), Expires: expires, ticket: ticket}
	number := binary.BigEndian.Uint64(mac(i.key, "digits", string(signed)))
	for range Digits {
		q.digits = append(q.digits, byte(number%10))
		number /= 10
	}
	return q, nil
}

func (i *Issuer) sign(signed []byte, purpose string, client netip.Addr) []byte {
	return mac(i.key, "ticket", string(signed), purpose, ratelimit.NetworkOf(client).String())
}

// mac is HMAC-SHA-256 over parts of whatever length, each after its own.
func mac(key []byte, parts ...string) []byte {
	h := hmac.New(sha256.New, key)
	for _, part := range parts {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		h.Write([]byte(part))
	}
	return h.Sum(nil)
}

// Answered reports whether these are the digits, typed as people type them: full width, with spaces.
func (q *Question) Answered(typed string) bool {
	return hmac.Equal([]byte(strings.Join(strings.Fields(norm.NFKC.String(typed)), "")), []byte(q.Text()))
}

// Text is the right answer.
func (q *Question) Text() string {
	text := make([]byte, len(q.digits))
	for n, digit := range q.digits {
		text[n] = '0' + digit
	}
	return string(text)
}

// The size of a picture, CSS pixels.
const (
	Width  = captcha.StdWidth
	Height = captcha.StdHeight
)

// PNG is the picture: dark on transparent, so it wants a light ground.
func (q *Question) PNG() []byte {
	var b bytes.Buffer
	_, _ = captcha.NewImage(q.ticket, q.digits, Width, Height).WriteTo(&b) // memory does not fail
	return b.Bytes()
}

// WAV is the recording in one of Languages: some 20 seconds of 8 kHz mono.
func (q *Question) WAV(lang string) []byte {
	var b bytes.Buffer
	_, _ = captcha.NewAudio(q.ticket, q.digits, lang).WriteTo(&b) // memory does not fail
	return b.Bytes()
}

// The answer travels where a solved challenge does. No base64 has a colon in it.
const answerPrefix = "captcha:"

// Answer is the text that says a ticket's answer.
func Answer(ticket, typed string) string { return answerPrefix + ticket + ":" + typed }

// CutAnswer takes such a text apart; ok is false for any other.
func CutAnswer(text string) (ticket, typed string, ok bool) {
	text, ok = strings.CutPrefix(text, answerPrefix)
	if !ok {
		return "", "", false
	}
	ticket, typed, _ = strings.Cut(text, ":")
	return ticket, typed, true
}

// Package verification joins the SMS gateway and the API server: the gateway leaves what it heard,
// the API server that holds the voter's connection is told at once. State first, then notice.
package verification

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"time"

	"github.com/popvote/popvote/libs/sms"
)

// Key names what one session waits for: HMAC-SHA-256(verification key, E.164 sender ‖ 0x00 ‖ text).
// Sender and text are both in it, so an SMS from the wrong phone meets nobody's key.
type Key [32]byte

// MarshalText writes base64url: keys travel in tokens, where every byte is sent many times.
func (k Key) MarshalText() ([]byte, error) { return base64.RawURLEncoding.AppendEncode(nil, k[:]), nil }

// UnmarshalText reads what MarshalText wrote.
func (k *Key) UnmarshalText(b []byte) error {
	raw, err := base64.RawURLEncoding.AppendDecode(nil, b)
	if err != nil || len(raw) != len(k) {
		return fmt.Errorf("couldn't read a key: want %d bytes of base64url", len(k))
	}
	copy(k[:], raw)
	return nil
}

// Hearer is a gateway's half of a board, or of several. Safe for concurrent use.
type Hearer interface {
	// Heard records that the SMS of the key arrived at the time, then wakes whoever waits for it.
	// Hearing the same again changes nothing. The record goes after ttl.
	Heard(ctx context.Context, key Key, at time.Time, ttl time.Duration) error
}

// Board keeps verification state for a while and passes on notices. Nothing on it may be needed for
// a vote already cast: losing it all costs voters another SMS, no more. Safe for concurrent use.
type Board interface {
	Hearer
	// Watch registers, then reads: the news of the key's SMS come once, also of one that was heard before the
	// call. Nobody's goroutine waits, of which there would be one for each voter. Whoever wants no more of it
	// calls stop.
	Watch(ctx context.Context, key Key) (news <-chan News, stop func(), err error)
	// NewCode makes mac the only code of the session, with its tries ahead of it, and counts the
	// sending; SendState.Refused says why not, if not.
	NewCode(ctx context.Context, session string, mac [32]byte, limits CodeLimits, now time.Time) (CodeState, error)
	// Unsent takes the session's last NewCode back: no provider took its SMS, so it costs the voter
	// neither a sending nor a wait, and the code before it stands again with the tries it had.
	Unsent(ctx context.Context, session string) error
	// TryCode compares, and counts the try before it answers. A right code is used up.
	TryCode(ctx context.Context, session string, mac [32]byte, now time.Time) (CodeState, error)
	// Spend marks an id as used until ttl has passed; false if it was before.
	Spend(ctx context.Context, id string, ttl time.Duration) (bool, error)
	// Spent says whether an id is marked as used, and marks nothing.
	Spent(ctx context.Context, id string) (bool, error)
}

// News is what a waiter is told: when the SMS came, or why it will not hear of it here.
type News struct {
	At  time.Time
	Err error
}

// CodeLimits are the rules for one session's codes.
type CodeLimits struct {
	// Tries per code (5).
	Tries int
	// SendDelays are the waits before the second, third, … sending; one more is refused.
	SendDelays []time.Duration
	// After is how many sendings there must have been before this one; before that it is too soon.
	After int
	// CheckDelay is the wait between two tries.
	CheckDelay time.Duration
	// TTL of a code, and of the session's record.
	TTL time.Duration
}

// CodeState is the state of a session's code after a call.
type CodeState struct {
	Result CodeResult
	// Sends is how often a code was sent in this session, this time included.
	Sends int
	// TriesLeft for the code sent last.
	TriesLeft int
	// NextSend and NextCheck are the waits from now; negative when there will be none.
	NextSend, NextCheck time.Duration
}

// CodeResult is what a call came to.
type CodeResult string

// The results of NewCode (Accepted, TooSoon, Exhausted) and TryCode (Right, Wrong, TooSoon, Exhausted, NoCode).
const (
	Accepted  CodeResult = "accepted"
	Right     CodeResult = "right"
	Wrong     CodeResult = "wrong"
	TooSoon   CodeResult = "too_soon"
	Exhausted CodeResult = "exhausted"
	NoCode    CodeResult = "no_code"
)

// KeyOf names what a session waits for: the SMS of the text from the number. The gateway and the API
// server compute it alike from the shared secret; neither number nor text can be read back from it.
func KeyOf(secret [32]byte, from sms.Number, text string) Key {
	h := hmac.New(sha256.New, secret[:])
	io.WriteString(h, from.Reveal()) //nolint:errcheck // a hash never fails
	h.Write([]byte{0})
	io.WriteString(h, text) //nolint:errcheck // a hash never fails
	return Key(h.Sum(nil))
}

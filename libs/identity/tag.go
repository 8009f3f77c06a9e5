// Package identity knows identity numbers and phone numbers: their canonical forms, their check
// digits, and the keyed tags that are all that is ever stored of them.
package identity

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"

	"github.com/popvote/popvote/libs/sms"
)

// VoterTag is HMAC-SHA-256(identity key of the poll, canonical whole identity number). It prints as
// "voter:redacted" everywhere but in JSON between services and in the participation table.
type VoterTag [32]byte

// PhoneTag is the same for the E.164 phone number, under another key.
type PhoneTag [32]byte

// BlockTag is the same for a block of phone numbers: those that differ in their last three digits only.
type BlockTag [32]byte

// TagVoter makes a voter's tag with the identity key of the poll. The whole canonical number goes in:
// all numbers there are can be tried in minutes, so only the key protects them, and a shortened number
// would make two voters one.
func TagVoter(key [32]byte, id ID) VoterTag { return VoterTag(tag(key, string(id))) }

// TagPhone makes a phone's tag, under another key.
func TagPhone(key [32]byte, n sms.Number) PhoneTag { return PhoneTag(tag(key, n.Reveal())) }

// blockDigits is how many digits the numbers of a block do not have in common.
const blockDigits = 3

// TagBlock makes the tag of a phone's block of 1,000 numbers, with the key of the phones' tags. No phone's tag
// is a block's, because no number begins with a letter.
func TagBlock(key [32]byte, n sms.Number) BlockTag {
	number := n.Reveal()
	return BlockTag(tag(key, "block"+number[:max(0, len(number)-blockDigits)]))
}

func tag(key [32]byte, canonical string) (sum [32]byte) {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(canonical))
	mac.Sum(sum[:0])
	return sum
}

const (
	voterRedacted = "voter:redacted"
	phoneRedacted = "phone:redacted"
	blockRedacted = "block:redacted"
)

func (VoterTag) String() string       { return voterRedacted }
func (VoterTag) GoString() string     { return voterRedacted }
func (VoterTag) LogValue() slog.Value { return slog.StringValue(voterRedacted) }

// Format keeps %x and %v from printing the bytes.
func (VoterTag) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(voterRedacted)) }

// MarshalText is for the wire between services.
func (t VoterTag) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, t[:]), nil
}

// UnmarshalText reads what MarshalText wrote.
func (t *VoterTag) UnmarshalText(b []byte) error { return unmarshalTag(t[:], b) }

func (PhoneTag) String() string       { return phoneRedacted }
func (PhoneTag) GoString() string     { return phoneRedacted }
func (PhoneTag) LogValue() slog.Value { return slog.StringValue(phoneRedacted) }

// Format keeps %x and %v from printing the bytes.
func (PhoneTag) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(phoneRedacted)) }

// MarshalText is for the wire between services.
func (t PhoneTag) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, t[:]), nil
}

// UnmarshalText reads what MarshalText wrote.
func (t *PhoneTag) UnmarshalText(b []byte) error { return unmarshalTag(t[:], b) }

func (BlockTag) String() string       { return blockRedacted }
func (BlockTag) GoString() string     { return blockRedacted }
func (BlockTag) LogValue() slog.Value { return slog.StringValue(blockRedacted) }

// Format keeps %x and %v from printing the bytes.
func (BlockTag) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(blockRedacted)) }

func unmarshalTag(dst, text []byte) error {
	raw, err := base64.RawURLEncoding.AppendDecode(nil, text)
	if err != nil || len(raw) != len(dst) {
		return fmt.Errorf("couldn't read a tag: want %d bytes of base64url", len(dst))
	}
	copy(dst, raw)
	return nil
}

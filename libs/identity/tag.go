// Package identity knows identity numbers and phone numbers: their canonical forms, their check
// digits, and the keyed tags that are all that is ever stored of them.
package identity

import (
	"encoding/base64"
	"fmt"
	"log/slog"
)

// VoterTag is HMAC-SHA-256(identity key of the poll, canonical whole identity number). It prints as
// "voter:redacted" everywhere but in JSON between services and in the participation table.
type VoterTag [32]byte

// PhoneTag is the same for the E.164 phone number, under another key.
type PhoneTag [32]byte

const (
	voterRedacted = "voter:redacted"
	phoneRedacted = "phone:redacted"
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

func unmarshalTag(dst, text []byte) error {
	raw, err := base64.RawURLEncoding.AppendDecode(nil, text)
	if err != nil || len(raw) != len(dst) {
		return fmt.Errorf("couldn't read a tag: want %d bytes of base64url", len(dst))
	}
	copy(dst, raw)
	return nil
}

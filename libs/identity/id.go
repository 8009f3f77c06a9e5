package identity

import (
	"errors"
	"fmt"
	"log/slog"
)

// ErrInvalid is an identity number whose form or check digit is wrong. It never says which: the
// difference helps only who is guessing.
var ErrInvalid = errors.New("not a valid identity number")

// ID is an identity number in its canonical form. It prints, and encodes, as "id:redacted".
type ID string

const idRedacted = "id:redacted"

func (ID) String() string       { return idRedacted }
func (ID) GoString() string     { return idRedacted }
func (ID) LogValue() slog.Value { return slog.StringValue(idRedacted) }

// Format keeps %q, %x and %v from printing the number.
func (ID) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(idRedacted)) }

// MarshalText keeps the number out of JSON: no document of ours has a place for it.
func (ID) MarshalText() ([]byte, error) { return []byte(idRedacted), nil }

// Scheme is one kind of identity number. Safe for concurrent use.
type Scheme interface {
	// Type is the scheme's name in poll files and in the API.
	Type() string
	// Canonical returns the one form of a whole number, however it was typed, or ErrInvalid.
	// Numbers that name the same person have the same canonical form: it is what tags are made of.
	Canonical(input string) (ID, error)
}

// schemes is every scheme there is: another country, or a member roll, is a new file and a line here.
var schemes = map[string]Scheme{
	hkid{}.Type(): hkid{},
}

// Lookup returns the scheme of a type.
func Lookup(typ string) (Scheme, bool) {
	s, ok := schemes[typ]
	return s, ok
}

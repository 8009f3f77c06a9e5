package operators

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

var (
	errNoCredential = errors.New("it has no credential")
	errNoUntil      = errors.New("it does not say until when")
)

// ErrName is a name that an account can't have.
var ErrName = errors.New("a name has 2 to 40 letters, digits, spaces, dots, hyphens or underscores, begins with a letter, and is not one that PopVote itself acts under")

var nameForm = regexp.MustCompile(`^\p{L}[\p{L}\p{M}\p{N} ._-]{1,39}$`)

// taken are the names that entries of audit chains have which no account made.
var taken = regexp.MustCompile(`(?i)^(clock|panel|popvote.*|command line.*|operator-[0-9a-f]{4})$`)

// CheckName says whether an account can have a name: ErrName, or nil.
func CheckName(name string) error {
	if !nameForm.MatchString(name) || strings.TrimSpace(name) != name || taken.MatchString(name) {
		return ErrName
	}
	return nil
}

// CheckLabel says whether a passkey can be called so: 1 to 40 characters that can be seen.
func CheckLabel(label string) bool {
	if n := utf8.RuneCountInString(label); n < 1 || n > 40 || strings.TrimSpace(label) != label {
		return false
	}
	return !strings.ContainsFunc(label, func(r rune) bool { return !unicode.IsPrint(r) })
}

// NewAccount makes the account of somebody new.
func NewAccount(name string) Account {
	var id [16]byte
	rand.Read(id[:]) // never fails (crypto/rand)
	return Account{ID: base64.RawURLEncoding.EncodeToString(id[:]), Name: name}
}

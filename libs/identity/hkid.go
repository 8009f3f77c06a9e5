package identity

import (
	"strings"
	"unicode"
)

// hkid is the Hong Kong identity card number: one or two letters, six digits and a check digit, as in
// A123456(3). Its canonical form is those characters alone: "A1234563".
type hkid struct{}

func (hkid) Type() string { return "hkid" }

// longestInput is far more than anybody types, and bounds the work on what nobody typed.
const longestInput = 64

func (hkid) Canonical(input string) (ID, error) {
	if len(input) > longestInput {
		return "", ErrInvalid
	}
	var kept [9]byte
	n := 0
	for _, r := range input {
		r = narrow(r)
		if ignored(r) {
			continue
		}
		if 'a' <= r && r <= 'z' {
			r -= 'a' - 'A'
		}
		if n == len(kept) || !(isLetter(r) || isDigit(r)) {
			return "", ErrInvalid
		}
		kept[n] = byte(r)
		n++
	}
	if n < 8 {
		return "", ErrInvalid
	}
	number := kept[:n]
	letters, digits, check := number[:n-7], number[n-7:n-1], number[n-1]
	for _, c := range letters {
		if !isLetter(rune(c)) {
			return "", ErrInvalid
		}
	}
	for _, c := range digits {
		if !isDigit(rune(c)) {
			return "", ErrInvalid
		}
	}
	// A letter O for a zero is refused, not mended: whose number it would become is not ours to guess.
	if check != checkDigit(letters, digits) {
		return "", ErrInvalid
	}
	return ID(number), nil
}

// checkDigit sums value times weight: 9 to 2 over eight places, a missing first letter counting as a
// space of value 36, letters from A = 10, and takes what is missing to a multiple of 11; ten is "A".
func checkDigit(letters, digits []byte) byte {
	const space = 36
	sum := 0
	if len(letters) == 1 {
		sum = 9 * space
	}
	weight := len(letters) + len(digits) + 1
	for _, c := range letters {
		sum += weight * int(c-'A'+10)
		weight--
	}
	for _, c := range digits {
		sum += weight * int(c-'0')
		weight--
	}
	check := (11 - sum%11) % 11
	if check == 10 {
		return 'A'
	}
	return byte('0' + check)
}

// narrow folds the full-width forms of East Asian keyboards to ASCII.
func narrow(r rune) rune {
	switch {
	case '！' <= r && r <= '～':
		return r - '！' + '!'
	case r == '\u3000':
		return ' '
	}
	return r
}

// ignored tells what people write around a number: spaces (and what pasting brings along), brackets
// of several cultures, hyphens and dashes.
func ignored(r rune) bool {
	return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Pd, r) ||
		r == '\u2212' || strings.ContainsRune("()[]{}【】〔〕「」", r)
}

func isLetter(r rune) bool { return 'A' <= r && r <= 'Z' }
func isDigit(r rune) bool  { return '0' <= r && r <= '9' }

package sms

import (
	"io"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"
)

const (
	// keyword starts every one-time text, so that a voter sees what the SMS is for.
	keyword = "VOTE"
	// codeLength gives 40 bits: guessing one of ten thousand waiting texts takes a hundred million
	// SMS from the right phone.
	codeLength = 8
	// alphabet is Crockford's base32: no I, L, O or U, so that nothing is misread or rude.
	alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	// maxCandidates bounds what one SMS costs the board.
	maxCandidates = 4
	// maxBody is how much of an SMS is looked at, in bytes: ten concatenated parts are more than any
	// phone sends for a text of thirteen characters.
	maxBody = 2048
)

// NewText returns a fresh one-time text, "VOTE " and eight characters of Crockford's base32, which
// the voter is asked to send. Random must be crypto/rand.Reader or as good; like it, it must not fail.
func NewText(random io.Reader) string {
	var raw [codeLength]byte
	if _, err := io.ReadFull(random, raw[:]); err != nil {
		panic("sms: the source of randomness failed: " + err.Error())
	}
	code := make([]byte, codeLength)
	for i, b := range raw {
		code[i] = alphabet[b&31] // 256 is a multiple of 32: no bias
	}
	return keyword + " " + string(code)
}

// Texts returns the one-time texts, in NewText's form, that the body of an SMS may be meant as, best
// first and at most four. People type, dictate and forward: full-width letters, lower case, O for 0
// and I or L for 1, spaces and hyphens inside the code, quotation marks and polite words around it
// are all understood. A body that holds no text gives none.
func Texts(body string) []string {
	words := split(body)
	var found []string
	add := func(first string, more []string) {
		code, ok := join(first, more)
		if !ok {
			return
		}
		if text := keyword + " " + code; len(found) < maxCandidates && !slices.Contains(found, text) {
			found = append(found, text)
		}
	}
	// Behind the keyword first: that is what was asked for.
	for i, word := range words {
		if rest, ok := strings.CutPrefix(word, foldedKeyword); ok {
			add(rest, words[i+1:])
		}
	}
	// The keyword may be missing or misspelt: then whatever has the form of a code, whole words
	// before those that only make one together.
	for _, word := range words {
		add(word, nil)
	}
	for i, word := range words {
		add(word, words[i+1:])
	}
	return found
}

// lookalikes are read as the character of the alphabet that they resemble, as Crockford asks.
var lookalikes = strings.NewReplacer("O", "0", "I", "1", "L", "1")

// foldedKeyword is the keyword as split leaves it.
var foldedKeyword = lookalikes.Replace(keyword)

// split folds the body to capital ASCII without lookalikes, and cuts it into words of letters and
// digits. Whatever is neither, Chinese included, ends a word: "請投VOTE" must not hide the keyword.
func split(body string) []string {
	if len(body) > maxBody {
		body = body[:maxBody]
	}
	folded := strings.ToUpper(norm.NFKC.String(strings.ToValidUTF8(body, " ")))
	return strings.FieldsFunc(lookalikes.Replace(folded), func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'A' || r > 'Z')
	})
}

// join puts words together until they are exactly a code long and spelt in the alphabet.
func join(first string, more []string) (string, bool) {
	code := first
	for len(code) < codeLength && len(more) > 0 {
		code += more[0]
		more = more[1:]
	}
	if len(code) != codeLength || strings.Trim(code, alphabet) != "" {
		return "", false
	}
	return code, true
}

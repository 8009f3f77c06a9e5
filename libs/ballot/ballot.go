// Package ballot knows what a ballot says, its one encoding, and how it is sealed to the trustees'
// key. The voter's page does the same in TypeScript; testdata/vectors.json holds both to it.
package ballot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/popvote/popvote/libs/poll"
)

// ErrInvalid is a ballot that the poll does not allow, or whose bytes are not the ones Encode makes.
var ErrInvalid = errors.New("not a valid ballot")

// Answers are the ids of the options chosen, per question, in the manifest's order of questions. A
// question without an answer has an empty list.
type Answers [][]string

const (
	version = 1
	// block is what sizes are rounded up to, so that a small change to a poll rarely changes it.
	block = 64
	// mark ends the text; zeros follow it (ISO/IEC 7816-4 padding).
	mark = 0x80
)

// plain is the text of a ballot; the order of its members is part of the encoding.
type plain struct {
	V       int     `json:"v"`
	Poll    string  `json:"poll"`
	Answers Answers `json:"answers"`
}

// Validate checks answers against the poll's rules: one list per question, known options, each at
// most once, as many as allowed; abstain and blank stand alone.
func Validate(m *poll.Manifest, a Answers) error {
	if len(a) != len(m.Questions) {
		return fmt.Errorf("%w: answers to %d questions, want %d", ErrInvalid, len(a), len(m.Questions))
	}
	for i := range m.Questions {
		if err := validate(&m.Questions[i], a[i]); err != nil {
			return err
		}
	}
	return nil
}

func validate(q *poll.Question, picks []string) error {
	alone := false
	for i, id := range picks {
		at := slices.IndexFunc(q.Options, func(o poll.Option) bool { return o.ID == id })
		if at < 0 {
			return fmt.Errorf("%w: question %s has no option %q", ErrInvalid, q.ID, id)
		}
		if slices.Contains(picks[:i], id) {
			return fmt.Errorf("%w: question %s: option %s twice", ErrInvalid, q.ID, id)
		}
		alone = alone || exclusive(q.Options[at])
	}
	switch {
	case alone && len(picks) > 1:
		return fmt.Errorf("%w: question %s: abstain and blank exclude other options", ErrInvalid, q.ID)
	case alone:
		return nil
	case len(picks) < q.Min || len(picks) > q.Max:
		return fmt.Errorf("%w: question %s: %d options, want %d to %d", ErrInvalid, q.ID, len(picks), q.Min, q.Max)
	}
	return nil
}

func exclusive(o poll.Option) bool { return o.Kind == poll.Abstain || o.Kind == poll.Blank }

// Encode returns the plain ballot: compact JSON with the options in the manifest's order, whatever
// order they are given in, padded to the manifest's size. Equal answers have equal bytes.
func Encode(m *poll.Manifest, a Answers) ([]byte, error) {
	if err := Validate(m, a); err != nil {
		return nil, err
	}
	ordered := make(Answers, len(a))
	for i, q := range m.Questions {
		ordered[i] = make([]string, 0, len(a[i])) // never null in JSON
		for _, o := range q.Options {
			if slices.Contains(a[i], o.ID) {
				ordered[i] = append(ordered[i], o.ID)
			}
		}
	}
	text, err := json.Marshal(plain{V: version, Poll: m.ID, Answers: ordered})
	if err != nil {
		return nil, fmt.Errorf("couldn't encode a ballot: %w", err)
	}
	if len(text) >= m.Ballot.Size {
		return nil, fmt.Errorf("couldn't encode a ballot: %d bytes and its end do not fit in %d", len(text), m.Ballot.Size)
	}
	padded := make([]byte, m.Ballot.Size)
	padded[copy(padded, text)] = mark
	return padded, nil
}

// Decode returns the answers of a plain ballot. Bytes that Encode would not have made are ErrInvalid:
// a ballot with several spellings could be marked by one.
func Decode(m *poll.Manifest, padded []byte) (Answers, error) {
	if len(padded) != m.Ballot.Size {
		return nil, fmt.Errorf("%w: %d bytes, want %d", ErrInvalid, len(padded), m.Ballot.Size)
	}
	text, ok := bytes.CutSuffix(bytes.TrimRight(padded, "\x00"), []byte{mark})
	if !ok {
		return nil, fmt.Errorf("%w: its text does not end", ErrInvalid)
	}
	var p plain
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, fmt.Errorf("%w: its text is not a ballot's", ErrInvalid)
	}
	if p.Poll != m.ID {
		return nil, fmt.Errorf("%w: it is for poll %q", ErrInvalid, p.Poll)
	}
	again, err := Encode(m, p.Answers)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, padded) {
		return nil, fmt.Errorf("%w: not in canonical form", ErrInvalid)
	}
	return p.Answers, nil
}

// Size is the bytes of every plain ballot of a poll: the least multiple of 64 that holds the longest
// valid ballot and its end.
func Size(d *poll.Definition) int {
	longest := len(`{"v":1,"poll":"","answers":[]}`) + len(d.ID) + 1
	for _, q := range d.Questions {
		longest += len(`,`) + longestAnswer(q)
	}
	if len(d.Questions) > 0 {
		longest-- // one comma less than questions
	}
	return (longest + block - 1) / block * block
}

// longestAnswer is the bytes of a question's longest list: the longest choices it allows at once, or
// a longer abstain or blank alone.
func longestAnswer(q poll.Question) int {
	longest := 0
	var choices []int
	for _, o := range q.Options {
		n := len(`"",`) + len(o.ID)
		if exclusive(o) {
			longest = max(longest, n)
		} else {
			choices = append(choices, n)
		}
	}
	slices.Sort(choices)
	sum := 0
	for _, n := range choices[max(0, len(choices)-max(0, q.Max)):] {
		sum += n
	}
	longest = max(longest, sum)
	if longest > 0 {
		longest-- // one comma less than options
	}
	return len(`[]`) + longest
}

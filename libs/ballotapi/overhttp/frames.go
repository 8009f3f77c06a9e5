package overhttp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/identity"
	"github.com/popvote/popvote/libs/problem"
)

// The frames. Numbers are unsigned varints (encoding/binary); text and bytes have their length before
// them; what is always 32 bytes has not. JSON would turn every hash and ballot into base64 and back, and
// repeat the batch's signature, the longest part of a receipt, for each; here it is sent once.
//
//	request:  count, then each ballot: poll, voter (32 bytes), sealed, key, channel, took (ns)
//	response: records as outcomes become known, until there is one for each ballot:
//	          place, 0, code, leaf (32), index, length of path, path (32 each), signature
//	          place, 1, code, field, detail, retry after (ns)
//	signature: 0 and the text the first time, then its number, counted from 1 in order of appearance
const (
	recordReceipt = 0
	recordProblem = 1

	hashSize = 32
	maxText  = 64 << 10
	// recordSize is about what a receipt of a batch of a hundred takes.
	recordSize = 320
	maxPath    = 64
)

var errFrame = errors.New("not a frame of this version")

func appendText[T string | []byte](b []byte, text T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// appendBallot writes one ballot of a request.
func appendBallot(b []byte, one *ballotapi.Ballot) []byte {
	b = appendText(b, one.Poll)
	b = append(b, one.Voter[:]...)
	b = appendText(b, one.Sealed)
	b = appendText(b, one.Key)
	b = appendText(b, string(one.Channel))
	return binary.AppendUvarint(b, uint64(max(0, one.Took)))
}

// readBallots reads a whole request. The sealed ballots are parts of what was given.
func readBallots(body []byte) ([]ballotapi.Ballot, error) {
	c := cursor{rest: body}
	n := c.number()
	if n == 0 || n > maxBallots {
		return nil, fmt.Errorf("%w: %d ballots", errFrame, n)
	}
	ballots := make([]ballotapi.Ballot, n)
	for i := range ballots {
		ballots[i] = ballotapi.Ballot{
			Poll:    string(c.bytes(maxSealed)),
			Voter:   identity.VoterTag(c.fixed()),
			Sealed:  c.bytes(maxSealed),
			Key:     string(c.bytes(maxSealed)),
			Channel: ballotapi.Channel(c.bytes(maxSealed)),
			Took:    time.Duration(c.number() &^ (1 << 63)),
		}
	}
	if c.broken || len(c.rest) > 0 {
		return nil, errFrame
	}
	return ballots, nil
}

// cursor reads a request; after the first thing that does not fit it reads zeroes.
type cursor struct {
	rest   []byte
	broken bool
}

func (c *cursor) number() uint64 {
	v, n := binary.Uvarint(c.rest)
	if n <= 0 {
		c.rest, c.broken = nil, true
		return 0
	}
	c.rest = c.rest[n:]
	return v
}

func (c *cursor) bytes(most uint64) []byte {
	n := c.number()
	if n > most || n > uint64(len(c.rest)) {
		c.rest, c.broken = nil, true
		return nil
	}
	b := c.rest[:n:n]
	c.rest = c.rest[n:]
	return b
}

func (c *cursor) fixed() (b [hashSize]byte) {
	if len(c.rest) < hashSize {
		c.rest, c.broken = nil, true
		return b
	}
	copy(b[:], c.rest)
	c.rest = c.rest[hashSize:]
	return b
}

// outcomeWriter writes the records of one response.
type outcomeWriter struct {
	buf        []byte
	signatures map[string]uint64
}

func (w *outcomeWriter) receipt(place int, r *ballotapi.Receipt) {
	if !hashes(r) {
		w.problem(place, problem.New(problem.Internal))
		return
	}
	w.buf = append(binary.AppendUvarint(w.buf, uint64(place)), recordReceipt)
	w.buf = appendText(w.buf, r.Code)
	w.buf = append(w.buf, r.Leaf...)
	w.buf = binary.AppendUvarint(w.buf, uint64(r.Index)) //nolint:gosec // a place in a batch
	w.buf = binary.AppendUvarint(w.buf, uint64(len(r.Path)))
	for _, h := range r.Path {
		w.buf = append(w.buf, h...)
	}
	number := w.signatures[r.Batch]
	w.buf = binary.AppendUvarint(w.buf, number)
	if number == 0 {
		if w.signatures == nil {
			w.signatures = map[string]uint64{}
		}
		w.signatures[r.Batch] = uint64(len(w.signatures)) + 1
		w.buf = appendText(w.buf, r.Batch)
	}
}

func hashes(r *ballotapi.Receipt) bool {
	fit := len(r.Leaf) == hashSize && len(r.Path) <= maxPath && r.Index >= 0
	for _, h := range r.Path {
		fit = fit && len(h) == hashSize
	}
	return fit
}

func (w *outcomeWriter) problem(place int, p *problem.Error) {
	w.buf = append(binary.AppendUvarint(w.buf, uint64(place)), recordProblem)
	w.buf = appendText(w.buf, string(p.Code))
	w.buf = appendText(w.buf, p.Field)
	w.buf = appendText(w.buf, p.Detail)
	w.buf = binary.AppendUvarint(w.buf, uint64(max(0, p.RetryAfter)))
}

// outcomeReader reads the records of one response as they come.
type outcomeReader struct {
	r          *bufio.Reader
	signatures []string
	err        error
}

// next reads a record; the receipt's poll is not in it.
func (r *outcomeReader) next(places int) (place int, o ballotapi.Outcome, err error) {
	at := r.number()
	kind := r.number() // one byte: both are below 128
	switch {
	case r.err != nil:
	case at >= uint64(places): //nolint:gosec // a length
		r.err = errFrame
	case kind == recordReceipt:
		o.Receipt = r.receipt()
	case kind == recordProblem:
		p := problem.New(problem.Code(r.text()))
		p.Field, p.Detail, p.RetryAfter = r.text(), r.text(), time.Duration(r.number()&^(1<<63)) //nolint:gosec // cut to fit
		o.Err = p
	default:
		r.err = errFrame
	}
	return int(at), o, r.err //nolint:gosec // below places, or an error
}

func (r *outcomeReader) receipt() *ballotapi.Receipt {
	receipt := &ballotapi.Receipt{Code: r.text()}
	receipt.Leaf = r.bytes(hashSize)
	receipt.Index = int64(r.number() &^ (1 << 63)) //nolint:gosec // cut to fit
	n := r.number()
	if n > maxPath {
		r.fail(errFrame)
		return nil
	}
	path := r.bytes(int(n) * hashSize) //nolint:gosec // at most maxPath
	receipt.Path = make([][]byte, n)
	for i := range receipt.Path {
		if r.err == nil {
			receipt.Path[i] = path[i*hashSize : (i+1)*hashSize : (i+1)*hashSize]
		}
	}
	switch number := r.number(); {
	case number == 0:
		receipt.Batch = r.text()
		r.signatures = append(r.signatures, receipt.Batch)
	case number <= uint64(len(r.signatures)):
		receipt.Batch = r.signatures[number-1]
	default:
		r.fail(errFrame)
	}
	return receipt
}

func (r *outcomeReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *outcomeReader) number() uint64 {
	if r.err != nil {
		return 0
	}
	v, err := binary.ReadUvarint(r.r)
	if err != nil {
		r.fail(cut(err))
		return 0
	}
	return v
}

func (r *outcomeReader) text() string {
	n := r.number()
	if n > maxText {
		r.fail(errFrame)
		return ""
	}
	return string(r.bytes(int(n))) //nolint:gosec // at most maxText
}

func (r *outcomeReader) bytes(n int) []byte {
	if r.err != nil {
		return nil
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r.r, b); err != nil {
		r.fail(cut(err))
		return nil
	}
	return b
}

// cut says that an end is not where it belongs.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Package votecheck decides whether a poll kept its promises, from a history of what clients asked
// and were told, and the poll's published end. It is the set workload of Jepsen with a bank's total:
// every acknowledged ballot is there once, nothing is there that nobody sent, nobody is there twice,
// and the sums are right. It knows nothing of how a ballot server works.
package votecheck

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
)

// Type is what a line of the history says.
type Type string

// Every cast has an Invoke before its request leaves, and at most one completion. A cast without one
// (its client was killed) is as unknown as one that says so.
const (
	Invoke Type = "invoke"
	// OK is an acknowledgement with a receipt.
	OK Type = "ok"
	// Fail is an answer whose effect is declared not_applied: it promises that nothing was recorded.
	Fail Type = "fail"
	// Unknown is everything else: a time-out, a reset, an answer that says unknown.
	Unknown Type = "unknown"
	// Closed notes that the operator was told: the poll is closed. What is invoked after this line
	// must not be acknowledged, unless it repeats what was.
	Closed Type = "closed"
)

// Event is one line of a history. Voters have labels here, never identity numbers.
type Event struct {
	Type Type `json:"type"`
	// Op joins a completion to its invocation.
	Op int64 `json:"op,omitempty"`
	// At is nanoseconds since the history began, on the recorder's monotonic clock.
	At int64 `json:"at"`

	Voter string `json:"voter,omitempty"`
	// Key is the Idempotency-Key.
	Key string `json:"key,omitempty"`
	// Sealed is the sealed ballot as it was sent, Answers what it says (option ids per question).
	Sealed  []byte     `json:"sealed,omitempty"`
	Answers [][]string `json:"answers,omitempty"`

	Status  int                `json:"status,omitempty"`
	Code    string             `json:"code,omitempty"`
	Receipt *ballotapi.Receipt `json:"receipt,omitempty"`
}

// Recorder writes a history as JSON lines. Safe for concurrent use. Each line is handed to the
// operating system before the call returns, so a recorder's own death loses nothing that mattered.
type Recorder struct {
	clock func() time.Time
	start time.Time

	// mu guards what follows.
	mu   sync.Mutex
	file *os.File
	next int64
}

// Create starts a history in a new file.
func Create(path string, clock func() time.Time) (*Recorder, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("couldn't create the history: %w", err)
	}
	return &Recorder{clock: clock, start: clock(), file: f}, nil
}

// Invoke notes that a cast is about to be sent and returns its number.
func (r *Recorder) Invoke(voter, key string, sealed []byte, answers [][]string) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next++
	return r.next, r.write(Event{Type: Invoke, Op: r.next, Voter: voter, Key: key, Sealed: sealed, Answers: answers})
}

// Complete notes what became of a cast: an Event of type OK, Fail or Unknown.
func (r *Recorder) Complete(op int64, e Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.Op = op
	return r.write(e)
}

// Closed notes that the poll is closed, and that its operator knows.
func (r *Recorder) Closed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.write(Event{Type: Closed})
}

// Close makes the history durable and closes it.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.file.Sync(), r.file.Close())
}

func (r *Recorder) write(e Event) error {
	e.At = r.clock().Sub(r.start).Nanoseconds()
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("couldn't encode an event: %w", err)
	}
	if _, err := r.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("couldn't write the history: %w", err)
	}
	return nil
}

// maxLine is far above the longest event: a ballot of the largest size and a receipt.
const maxLine = 1 << 20

// Read reads a history. A last line that was cut short is left out: its writer was killed.
func Read(in io.Reader) ([]Event, error) {
	var events []Event
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	var broken error
	for n := 1; lines.Scan(); n++ {
		if broken != nil {
			return nil, broken
		}
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			broken = fmt.Errorf("couldn't read line %d of the history: %w", n, err)
			continue
		}
		events = append(events, e)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("couldn't read the history: %w", err)
	}
	return events, nil
}

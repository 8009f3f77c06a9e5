// Package votecheck decides whether a poll kept its promises, from a history of what clients asked
// and were told, and the poll's published end. It is the set workload of Jepsen with a bank's total:
// every acknowledged ballot is there once, nothing is there that nobody sent, nobody is there twice,
// and the sums are right; and beside it one small state machine per voter, to which some order of that
// voter's casts must lead. It knows nothing of how a ballot server works.
package votecheck

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
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
	// Snapshot is a checkpoint of the ballot log, as somebody read it meanwhile.
	Snapshot Type = "snapshot"
)

// Event is one line of a history. Voters have labels here, never identity numbers.
type Event struct {
	Type Type `json:"type"`
	// Op joins a completion to its invocation.
	Op int64 `json:"op,omitempty"`
	// At is nanoseconds since the history began, on the recorder's monotonic clock.
	At int64 `json:"at"`

	// Process is who asks: one thing at a time. One that did not learn an outcome asks nothing more, as it
	// may still be asking; its voter goes on as another process.
	Process int64 `json:"process,omitempty"`

	Voter string `json:"voter,omitempty"`
	// Key is the Idempotency-Key.
	Key string `json:"key,omitempty"`
	// Sealed is the sealed ballot as it was sent, Answers what it says (option ids per question).
	Sealed  []byte     `json:"sealed,omitempty"`
	Answers [][]string `json:"answers,omitempty"`

	Status  int                `json:"status,omitempty"`
	Code    string             `json:"code,omitempty"`
	Receipt *ballotapi.Receipt `json:"receipt,omitempty"`

	// Checkpoint is a Snapshot's signed note, and Source who told it: each may be a little behind the others.
	Checkpoint string `json:"checkpoint,omitempty"`
	Source     string `json:"source,omitempty"`
}

// Recorder writes a history as JSON lines, and only ever appends. Safe for concurrent use. Each line is
// on the disk before the call returns, so that no death takes back what a client was told.
type Recorder struct {
	clock     func() time.Time
	start     time.Time
	processes atomic.Int64

	// mu guards what follows.
	mu      sync.Mutex
	file    *os.File
	next    int64
	written int64 // lines

	// syncing guards synced, the lines that are on the disk. Who waits for it finds that others' fsync was
	// also theirs.
	syncing sync.Mutex
	synced  int64
}

// Create starts a history in a new file.
func Create(path string, clock func() time.Time) (*Recorder, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("couldn't create the history: %w", err)
	}
	return &Recorder{clock: clock, start: clock(), file: f}, nil
}

// Process returns the number of a process that has not asked anything yet.
func (r *Recorder) Process() int64 { return r.processes.Add(1) }

// Invoke notes that a process is about to send a cast, and returns the operation's number.
func (r *Recorder) Invoke(process int64, voter, key string, sealed []byte, answers [][]string) (int64, error) {
	return r.write(Event{Type: Invoke, Process: process, Voter: voter, Key: key, Sealed: sealed, Answers: answers})
}

// Complete notes what became of a cast: an Event of type OK, Fail or Unknown.
func (r *Recorder) Complete(op int64, e Event) error {
	e.Op = op
	_, err := r.write(e)
	return err
}

// Closed notes that the poll is closed, and that its operator knows.
func (r *Recorder) Closed() error {
	_, err := r.write(Event{Type: Closed})
	return err
}

// Snapshot notes a checkpoint that was read.
func (r *Recorder) Snapshot(source, checkpoint string) error {
	_, err := r.write(Event{Type: Snapshot, Source: source, Checkpoint: checkpoint})
	return err
}

// Close closes the history.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.file.Close()
}

func (r *Recorder) write(e Event) (op int64, err error) {
	line, op, err := r.append(e)
	if err != nil {
		return 0, err
	}
	r.syncing.Lock()
	defer r.syncing.Unlock()
	if r.synced >= line {
		return op, nil
	}
	r.mu.Lock()
	written := r.written
	r.mu.Unlock()
	if err := r.file.Sync(); err != nil {
		return 0, fmt.Errorf("couldn't make the history durable: %w", err)
	}
	r.synced = written
	return op, nil
}

// append writes a line and returns its number, and the operation's.
func (r *Recorder) append(e Event) (line, op int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Type == Invoke {
		r.next++
		e.Op = r.next
	}
	e.At = r.clock().Sub(r.start).Nanoseconds()
	text, err := json.Marshal(e)
	if err != nil {
		return 0, 0, fmt.Errorf("couldn't encode an event: %w", err)
	}
	if _, err := r.file.Write(append(text, '\n')); err != nil {
		return 0, 0, fmt.Errorf("couldn't write the history: %w", err)
	}
	r.written++
	return r.written, e.Op, nil
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

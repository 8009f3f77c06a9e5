// Package ballotapi is the contract with the ballot server, in three narrow interfaces: Caster for
// the API server, Reader for both, Admin for the control panel. The ballot server itself implements
// them (embedded), and so does an HTTP client.
package ballotapi

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/popvote/popvote/libs/identity"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/signed"
)

// Channel is how a ballot came in.
type Channel string

// The channels.
const (
	Web     Channel = "web"
	App     Channel = "app"
	Station Channel = "station"
)

// Ballot is one voter's sealed ballot on its way to the box.
type Ballot struct {
	Poll  string            `json:"poll"`
	Voter identity.VoterTag `json:"voter"`
	// Sealed is enc ‖ ciphertext (HPKE base mode); nobody on the way can open it.
	Sealed []byte `json:"sealed"`
	// Key is the client's Idempotency-Key.
	Key     string  `json:"key"`
	Channel Channel `json:"channel"`
	// Took is the time from the session's start to the cast. Only a histogram keeps it.
	Took time.Duration `json:"took"`
}

// Outcome is what became of one ballot: a receipt, or a problem.Error (already-voted, poll-closed,
// overloaded, outcome-unknown, …). Exactly one is set.
type Outcome struct {
	Receipt *Receipt
	Err     error
}

// Receipt proves that a sealed ballot is durably in the box; see the Receipt schema of the API.
type Receipt struct {
	Poll  string   `json:"poll"`
	Code  string   `json:"code"`
	Leaf  []byte   `json:"leaf"`
	Index int64    `json:"index"`
	Path  [][]byte `json:"path"`
	Batch string   `json:"batch"`
}

// Caster records ballots. Safe for concurrent use.
type Caster interface {
	// Cast returns one outcome per ballot, in order, once each is known. A receipt means: durable,
	// and the only ballot of its voter. An error means that nothing is known about any of them.
	// A cancelled context gives up waiting; it never undoes a recording under way.
	Cast(ctx context.Context, ballots []Ballot) ([]Outcome, error)
}

// Known is what became of one ballot of several.
type Known struct {
	// At is the ballot's place among those that were cast.
	At int
	Outcome
}

// EachCaster is a Caster that need not keep a goroutine waiting for each ballot.
type EachCaster interface {
	Caster
	// CastEach casts like Cast and returns at once. tell is given the outcomes as they become known, those of
	// one commit together, each ballot once; it may be called from several goroutines and must not wait.
	CastEach(ballots []Ballot, tell func([]Known))
}

// Reader reads what is public. Safe for concurrent use. An unknown poll is problem.PollNotFound.
type Reader interface {
	// Polls lists every poll but drafts, newest first.
	Polls(ctx context.Context) ([]poll.Summary, error)
	// Manifest returns the signed manifest (poll.Manifest), drafts included.
	Manifest(ctx context.Context, id string) (signed.Document, error)
	// Turnout returns the signed turnout (ballotapi.Turnout).
	Turnout(ctx context.Context, id string) (signed.Document, error)
	// Result returns the signed result (tally.Result); problem.ResultsNotPublished before that.
	Result(ctx context.Context, id string) (signed.Document, error)
	// Checkpoint returns the log's signed note (C2SP tlog-checkpoint).
	Checkpoint(ctx context.Context, id string) ([]byte, error)
	// Tile returns one tile of the log; path as in C2SP tlog-tiles, without the leading "tile/".
	Tile(ctx context.Context, id, path string) ([]byte, error)
	// Bundle writes the public bundle (ZIP); problem.ResultsNotPublished before publication.
	Bundle(ctx context.Context, id string, w io.Writer) error
}

// Turnout is how many have voted.
type Turnout struct {
	Poll      string            `json:"poll"`
	AsOf      time.Time         `json:"as_of"`
	Total     int64             `json:"total"`
	ByChannel map[Channel]int64 `json:"by_channel"`
	ByHour    []HourCount       `json:"by_hour"`
}

// HourCount is the ballots of one hour.
type HourCount struct {
	Hour  time.Time `json:"hour"`
	Count int64     `json:"count"`
}

// Change is who changes a poll, and why; every one is kept in the audit chain.
type Change struct {
	Actor  string `json:"actor"`
	Reason string `json:"reason"`
}

// Admin runs polls. Safe for concurrent use. A refused change is a problem.Error or *Refused and
// leaves no trace but the audit entry that says so.
type Admin interface {
	Reader
	// AllPolls lists every poll, drafts included, newest first.
	AllPolls(ctx context.Context) ([]poll.Summary, error)
	// Apply creates a poll as a draft, or replaces a draft. An open poll cannot be replaced.
	Apply(ctx context.Context, d poll.Definition, c Change) error
	// Move takes a poll to another state along the life cycle (open, paused, closed, published).
	Move(ctx context.Context, id string, to poll.State, c Change) error
	// Extend moves the closing time later; never earlier, never after the close.
	Extend(ctx context.Context, id string, closesAt time.Time, c Change) error
	// Count opens and counts the ballots of a closed poll with the trustees' private key (32 bytes,
	// P-256 scalar). The key is never stored. Progress is visible in Stats.
	Count(ctx context.Context, id string, tallyKey []byte, c Change) error
	// CountedResult returns the signed result of a counted poll, published or not.
	CountedResult(ctx context.Context, id string) (signed.Document, error)
	// Stats is the live picture of a poll.
	Stats(ctx context.Context, id string) (Stats, error)
	// Audit returns the poll's audit chain, oldest first.
	Audit(ctx context.Context, id string) ([]AuditEntry, error)
	// DestroyIdentityKey destroys the keys of the poll's voter and phone tags, once the audit window that
	// the poll promised has passed, and puts a signed Certificate into the audit chain. When it was cut
	// short, doing it again finishes it.
	DestroyIdentityKey(ctx context.Context, id string, c Change) error
	// Operators returns the operators' own audit chain after its entry of number after (0: all of it), oldest
	// first. Its entries are about no poll: who may sign in, who did, and what was refused.
	Operators(ctx context.Context, after int64) ([]AuditEntry, error)
	// NoteOperators adds an entry to that chain if after is still the number of its last entry, and returns it;
	// nil, and nothing was added, if somebody was faster.
	NoteOperators(ctx context.Context, after int64, n Note) (*AuditEntry, error)
	// Health says how the ballot server itself is.
	Health(ctx context.Context) (Health, error)
}

// Note is what an entry of the operators' chain is to say.
type Note struct {
	Change
	Action string `json:"action"`
	// Detail is JSON text of at most MaxNoteDetail bytes.
	Detail string `json:"detail"`
}

// MaxNoteDetail bounds a Note's detail, in bytes.
const MaxNoteDetail = 32 << 10

// Refused is a change that a poll's state does not allow.
type Refused struct {
	Poll   string     `json:"poll"`
	State  poll.State `json:"state"`
	Reason string     `json:"reason"`
}

func (r *Refused) Error() string {
	return "poll " + r.Poll + " is " + string(r.State) + ": " + r.Reason
}

// Stats is the live picture of a poll, for operators. Nothing in it is about one voter.
type Stats struct {
	Poll      string            `json:"poll"`
	At        time.Time         `json:"at"`
	State     poll.State        `json:"state"`
	Total     int64             `json:"total"`
	ByChannel map[Channel]int64 `json:"by_channel"`
	// PerMinute is the curve since opening; minutes without a vote are left out.
	PerMinute []MinuteCount `json:"per_minute"`
	// RateNow is votes per second over the last ten seconds; PeakSecond the most in any one second.
	RateNow    float64   `json:"rate_now"`
	PeakSecond int64     `json:"peak_second"`
	PeakAt     time.Time `json:"peak_at"`
	// Took is the time-to-vote histogram.
	Took []TookBucket `json:"took"`
	// Refused counts casts by problem code since the ballot server started.
	Refused map[string]int64 `json:"refused"`
	// Count is the progress of a count under way or done; nil before.
	Count *CountProgress `json:"count,omitempty"`
}

// MinuteCount is the ballots of one minute by channel.
type MinuteCount struct {
	Minute    time.Time         `json:"minute"`
	ByChannel map[Channel]int64 `json:"by_channel"`
}

// TookBucket counts the voters who took at most UpTo seconds (0: longer than all others).
type TookBucket struct {
	UpTo  int   `json:"up_to"`
	Count int64 `json:"count"`
}

// CountProgress is how far a count has come.
type CountProgress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// AuditEntry is one change of a poll, or with an empty Poll one entry of the operators' chain. Hash covers the
// entry and the hash before it.
type AuditEntry struct {
	Seq    int64     `json:"seq"`
	At     time.Time `json:"at"`
	Poll   string    `json:"poll"`
	Actor  string    `json:"actor"`
	Action string    `json:"action"`
	Reason string    `json:"reason"`
	// Detail is what changed, as JSON text.
	Detail string `json:"detail"`
	Prev   []byte `json:"prev"`
	Hash   []byte `json:"hash"`
}

// Health is how the ballot server is.
type Health struct {
	Version  string `json:"version"`
	Database string `json:"database"`
	Schema   int    `json:"schema"`
	// Queue is the ballots waiting, of at most QueueMax.
	Queue    int `json:"queue"`
	QueueMax int `json:"queue_max"`
	// LastCommit is how long the last batch took.
	LastCommit time.Duration `json:"last_commit"`
	// DiskFree is what the data directory's file system has left, bytes.
	DiskFree int64 `json:"disk_free"`
}

// LogValue keeps a ballot's voter out of every log.
func (b Ballot) LogValue() slog.Value { return slog.StringValue("ballot for " + b.Poll) }

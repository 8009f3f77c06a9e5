package store

import (
	"context"
	"errors"
	"fmt"

	"gorm.io/gorm"
)

// ErrNoPoll is a poll that is not there.
var ErrNoPoll = errors.New("no such poll")

// Poll is a row of polls.
type Poll struct {
	No         int64 `gorm:"primaryKey;column:no"`
	ID         string
	Definition string
	State      string
	OpensAt    int64
	ClosesAt   int64
	SealedSize int
	Sequence   int64
	SigningKey string
	AuditSeq   int64
	AuditHash  []byte
	LogSize    int64
	Checkpoint []byte
	Peak       int64
	PeakAt     int64
}

// Manifest is one signed manifest.
type Manifest struct {
	Poll     int64
	Sequence int64
	JWS      string `gorm:"column:jws"`
}

// Entry is one entry of a poll's audit chain.
type Entry struct {
	Poll   int64
	Seq    int64
	At     int64
	Actor  string
	Action string
	Reason string
	Detail string
	Prev   []byte
	Hash   []byte
}

// TableName is GORM's.
func (Entry) TableName() string { return "audit" }

// Result is what the count left.
type Result struct {
	Poll     int64 `gorm:"primaryKey;column:poll;autoIncrement:false"`
	Manifest int64
	JWS      string `gorm:"column:jws"`
	Opened   []byte
	TallyKey []byte
}

// Tx is a transaction that changes polls; see Write.
type Tx struct {
	db *gorm.DB
	d  *dialect
}

// Write runs fn in a transaction, between two batches of votes. ErrUnknown as in Record.
func (s *Store) Write(ctx context.Context, fn func(tx Tx) error) error {
	return s.engine.transact(ctx, alone, func(db *gorm.DB) error { return fn(Tx{db, s.d}) })
}

// ExtendLog runs fn in a transaction that extends a log, while votes are recorded. ErrUnknown as in Record.
func (s *Store) ExtendLog(ctx context.Context, fn func(tx Tx) error) error {
	return s.engine.transact(ctx, besideVotes, func(db *gorm.DB) error { return fn(Tx{db, s.d}) })
}

// Poll reads a poll; ErrNoPoll if there is none.
func (tx Tx) Poll(id string) (*Poll, error) { return readPollRow(tx.db, id) }

// Now is the database's clock, Unix milliseconds.
func (tx Tx) Now() (now int64, err error) {
	if err := tx.db.Raw("SELECT poll_clock()").Scan(&now).Error; err != nil {
		return 0, fmt.Errorf("couldn't read the clock: %w", err)
	}
	return now, nil
}

// SavePoll writes a poll, a new one where No is 0. What the hot insert and the log keep in the same row
// (peak, log) is left as it is.
func (tx Tx) SavePoll(p *Poll) error {
	var err error
	if p.No == 0 {
		err = tx.db.Omit("log_size", "checkpoint", "peak", "peak_at").Create(p).Error
	} else {
		err = tx.db.Model(p).Select("definition", "state", "opens_at", "closes_at", "sealed_size", "sequence",
			"signing_key", "audit_seq", "audit_hash").Updates(p).Error
	}
	if err != nil {
		return fmt.Errorf("couldn't write the poll: %w", err)
	}
	return nil
}

// AddManifest keeps a signed manifest.
func (tx Tx) AddManifest(m Manifest) error { return tx.create("the manifest", &m) }

// AddEntry keeps an audit entry. The poll's head is the caller's to move.
func (tx Tx) AddEntry(e Entry) error { return tx.create("the audit entry", &e) }

// AddResult keeps a result.
func (tx Tx) AddResult(r Result) error { return tx.create("the result", &r) }

func (tx Tx) create(what string, row any) error {
	if err := tx.db.Create(row).Error; err != nil {
		return fmt.Errorf("couldn't write %s: %w", what, err)
	}
	return nil
}

// Poll reads a poll; ErrNoPoll if there is none.
func (s *Store) Poll(ctx context.Context, id string) (*Poll, error) {
	return readPollRow(s.read.WithContext(ctx), id)
}

func readPollRow(db *gorm.DB, id string) (*Poll, error) {
	var found []Poll
	if err := db.Where("id = ?", id).Limit(1).Find(&found).Error; err != nil {
		return nil, fmt.Errorf("couldn't read the poll: %w", err)
	}
	if len(found) == 0 {
		return nil, ErrNoPoll
	}
	return &found[0], nil
}

// Polls reads all polls, newest first.
func (s *Store) Polls(ctx context.Context) ([]Poll, error) {
	var found []Poll
	if err := s.read.WithContext(ctx).Order("no DESC").Find(&found).Error; err != nil {
		return nil, fmt.Errorf("couldn't read the polls: %w", err)
	}
	return found, nil
}

// Manifest reads a poll's newest manifest, or the one of a sequence number that is not 0.
func (s *Store) Manifest(ctx context.Context, id string, sequence int64) (*Manifest, error) {
	var m Manifest
	err := s.read.WithContext(ctx).Raw(`
SELECT m.* FROM polls p JOIN manifests m ON m.poll = p.no AND m.sequence = CASE WHEN ? THEN ? ELSE p.sequence END WHERE p.id = ?`,
		sequence != 0, sequence, id).Scan(&m).Error
	if err != nil {
		return nil, fmt.Errorf("couldn't read the manifest: %w", err)
	}
	if m.JWS == "" {
		return nil, ErrNoPoll
	}
	return &m, nil
}

// Audit reads a poll's audit chain, oldest first.
func (s *Store) Audit(ctx context.Context, no int64) ([]Entry, error) {
	var found []Entry
	if err := s.read.WithContext(ctx).Where("poll = ?", no).Order("seq").Find(&found).Error; err != nil {
		return nil, fmt.Errorf("couldn't read the audit chain: %w", err)
	}
	return found, nil
}

// Result reads a poll's result; nil if it has none.
func (s *Store) Result(ctx context.Context, no int64) (*Result, error) {
	var found []Result
	if err := s.read.WithContext(ctx).Where("poll = ?", no).Limit(1).Find(&found).Error; err != nil {
		return nil, fmt.Errorf("couldn't read the result: %w", err)
	}
	if len(found) == 0 {
		return nil, nil
	}
	return &found[0], nil
}

package store

import (
	"context"
	"fmt"

	"gorm.io/gorm"
)

// OperatorEntry is one entry of the operators' own audit chain.
type OperatorEntry struct {
	Seq    int64 `gorm:"primaryKey;autoIncrement:false"`
	At     int64
	Actor  string
	Action string
	Reason string
	Detail string
	Prev   []byte
	Hash   []byte
}

// TableName is GORM's.
func (OperatorEntry) TableName() string { return "operators" }

// Operators reads the operators' chain after an entry, oldest first.
func (s *Store) Operators(ctx context.Context, after int64) ([]OperatorEntry, error) {
	var found []OperatorEntry
	if err := s.read.WithContext(ctx).Where("seq > ?", after).Order("seq").Find(&found).Error; err != nil {
		return nil, fmt.Errorf("couldn't read the operators' audit chain: %w", err)
	}
	return found, nil
}

// NoteOperators runs fn in a transaction that extends the operators' chain, while votes are recorded; one at a
// time. ErrUnknown as in Record.
func (s *Store) NoteOperators(ctx context.Context, fn func(tx Tx) error) error {
	return s.engine.transact(ctx, besideVotes, func(db *gorm.DB) error { return fn(Tx{db, s.d}) })
}

// LastOperatorEntry reads the end of the operators' chain; the zero value if it is empty.
func (tx Tx) LastOperatorEntry() (last OperatorEntry, err error) {
	if err := tx.db.Order("seq DESC").Limit(1).Find(&last).Error; err != nil {
		return last, fmt.Errorf("couldn't read the operators' audit chain: %w", err)
	}
	return last, nil
}

// AddOperatorEntry keeps an entry of the operators' chain.
func (tx Tx) AddOperatorEntry(e OperatorEntry) error {
	return tx.create("the operators' audit entry", &e)
}

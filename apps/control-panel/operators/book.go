// Package operators is who may enter the control panel: accounts with their passkeys, the links that let somebody
// register one, and what was suspicious. All of it is read from the operators' audit chain (ballotapi.Admin), and
// every change of it is an entry there: there is no other copy, and nothing that the chain does not tell.
package operators

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/popvote/popvote/libs/ballotapi"
)

// Chain is where the operators' audit chain is kept; ballotapi.Admin has it.
type Chain interface {
	Operators(ctx context.Context, after int64) ([]ballotapi.AuditEntry, error)
	NoteOperators(ctx context.Context, after int64, n ballotapi.Note) (*ballotapi.AuditEntry, error)
}

// Book follows the chain. Safe for concurrent use.
type Book struct {
	chain Chain
	// moving is held while the chain is read or added to.
	moving sync.Mutex
	state  atomic.Pointer[State]
	known  atomic.Bool
	told   func(Notice)
}

// NewBook returns a book that has read nothing yet. tell, where not nil, is given each notice that comes after the
// first reading; it must not wait.
func NewBook(chain Chain, tell func(Notice)) *Book {
	b := &Book{chain: chain, told: tell}
	b.state.Store(&State{})
	return b
}

// State is what the chain said when it was last read.
func (b *Book) State() *State { return b.state.Load() }

// Known says whether the chain was ever read: before that the state says nothing.
func (b *Book) Known() bool { return b.known.Load() }

// Read reads what the chain says now. A chain that was changed or cut short is an error, and the state stays.
func (b *Book) Read(ctx context.Context) (*State, error) {
	b.moving.Lock()
	defer b.moving.Unlock()
	return b.read(ctx)
}

// read is Read; the caller holds moving.
func (b *Book) read(ctx context.Context) (*State, error) {
	s := b.State()
	// The entry that is known comes again: a chain that was cut short has it no more.
	more, err := b.chain.Operators(ctx, max(0, s.seq-1))
	if err != nil {
		return nil, fmt.Errorf("couldn't read the operators' audit chain: %w", err)
	}
	if s.seq > 0 {
		if len(more) == 0 || more[0].Seq != s.seq || !bytes.Equal(more[0].Digest(), s.hash) {
			return nil, errors.New("couldn't go on with the operators' audit chain: it is not the one that was read before")
		}
		more = more[1:]
	}
	s, err = b.take(more)
	if err == nil {
		b.known.Store(true)
	}
	return s, err
}

// take follows entries; the caller holds moving.
func (b *Book) take(entries []ballotapi.AuditEntry) (*State, error) {
	s := b.State()
	if len(entries) == 0 {
		return s, nil
	}
	if err := ballotapi.VerifyOperators(s.seq, s.hash, entries); err != nil {
		return nil, err
	}
	next := s.clone()
	for i := range entries {
		if err := next.follow(&entries[i]); err != nil {
			return nil, fmt.Errorf("couldn't read entry %d of the operators' audit chain: %w", entries[i].Seq, err)
		}
	}
	b.state.Store(next)
	if b.Known() && b.told != nil {
		for _, n := range next.notices {
			if n.Seq > s.seq {
				b.told(n)
			}
		}
	}
	return next, nil
}

// tries is how often an entry is tried when others are faster.
const tries = 20

// Write adds an entry. decide looks at the state that the entry will follow, and says what it is, or refuses;
// it is called again when somebody else was faster.
func (b *Book) Write(ctx context.Context, decide func(*State) (*Entry, error)) error {
	b.moving.Lock()
	defer b.moving.Unlock()
	for range tries {
		s, err := b.read(ctx)
		if err != nil {
			return err
		}
		e, err := decide(s)
		if err != nil {
			return err
		}
		detail, err := json.Marshal(e.Detail)
		if err != nil {
			return fmt.Errorf("couldn't encode an entry of the operators' audit chain: %w", err)
		}
		added, err := b.chain.NoteOperators(ctx, s.seq, ballotapi.Note{
			Change: ballotapi.Change{Actor: e.Actor, Reason: e.Reason}, Action: e.Action, Detail: string(detail),
		})
		if err != nil {
			return fmt.Errorf("couldn't add to the operators' audit chain: %w", err)
		}
		if added == nil {
			continue
		}
		_, err = b.take([]ballotapi.AuditEntry{*added})
		return err
	}
	return errors.New("couldn't add to the operators' audit chain: others are always faster")
}

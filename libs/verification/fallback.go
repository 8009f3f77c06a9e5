package verification

import (
	"context"
	"errors"
	"time"
)

// Fallback is an API server's Board: a Redis, its own cloud's if it can be, which tells it what voters texted; the homes that
// all clouds share; and, for as long as no cloud's Redis answers, this process's memory for what need not be
// shared. So even without any Redis voters are taken in and sent codes, within the limits' small budgets; a
// code is then tried where it was sent, or in another server not at all. No try goes uncounted. Whoever waits
// for an SMS of theirs while no Redis tells of it is sent away.
//
// What was sent or spent in memory is known there alone, also when Redis is back.
type Fallback struct {
	*Redis
	homes  *Homes
	memory *Memory
}

var _ Board = Fallback{}

// NewFallback returns a board on a cloud's Redis and on the homes in all clouds, which are to be closed after it.
func NewFallback(r *Redis, homes *Homes, clock func() time.Time) Fallback {
	return Fallback{Redis: r, homes: homes, memory: NewMemory(clock)}
}

// NewCode implements Board.
func (f Fallback) NewCode(ctx context.Context, session string, mac [32]byte, limits CodeLimits, now time.Time) (CodeState, error) {
	if state, err := f.homes.NewCode(ctx, session, mac, limits, now); !errors.Is(err, ErrAway) {
		if err == nil && state.Result == Accepted {
			f.memory.forget(session) // from now on any server may try it
		}
		return state, err
	}
	return f.memory.NewCode(ctx, session, mac, limits, now)
}

// Unsent implements Board.
func (f Fallback) Unsent(ctx context.Context, session string) error {
	if f.memory.knows(session) {
		return f.memory.Unsent(ctx, session)
	}
	return f.homes.Unsent(ctx, session)
}

// TryCode implements Board. A code that was sent from here without Redis is tried here.
func (f Fallback) TryCode(ctx context.Context, session string, mac [32]byte, now time.Time) (CodeState, error) {
	if f.memory.knows(session) {
		return f.memory.TryCode(ctx, session, mac, now)
	}
	return f.homes.TryCode(ctx, session, mac, now)
}

// Spend implements Board. An id that is spent in memory could be spent again in another server: that is
// somebody's work for one more session, which the limits count like any other.
func (f Fallback) Spend(ctx context.Context, id string, ttl time.Duration) (bool, error) {
	if fresh, err := f.homes.Spend(ctx, id, ttl); !errors.Is(err, ErrAway) && (!fresh || err != nil) {
		return false, err
	}
	// Always in memory too, so that what is spent stays so when Redis goes.
	return f.memory.Spend(ctx, id, ttl)
}

// Spent implements Board. What was spent here is known here.
func (f Fallback) Spent(ctx context.Context, id string) (bool, error) {
	if spent, err := f.memory.Spent(ctx, id); spent || err != nil {
		return spent, err
	}
	spent, err := f.homes.Spent(ctx, id)
	if errors.Is(err, ErrAway) {
		return false, nil // so it was not, as far as anybody can say
	}
	return spent, err
}

// knows says whether a session was sent a code from here.
func (m *Memory) knows(session string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, known := m.sessions.get(session, m.clock())
	return known
}

func (m *Memory) forget(session string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions.remove(session)
}

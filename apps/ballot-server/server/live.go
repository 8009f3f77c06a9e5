package server

import (
	"maps"
	"sync"
	"time"

	"github.com/popvote/popvote/apps/ballot-server/internal/store"
)

// rateSpan is how many seconds the present rate looks back.
const rateSpan = 10

// live is what is known about polls only while the server runs: the present rate, and refusals.
type live struct {
	clock func() time.Time

	mu    sync.Mutex // guards polls and what is in it
	polls map[string]*meter
}

type meter struct {
	// seconds is a ring over Unix seconds: how many ballots were recorded in each.
	seconds [rateSpan + 1]struct {
		at      int64
		ballots int64
	}
	best    int64 // the peak that this process has seen
	refused map[string]int64
}

func newLive(clock func() time.Time) *live { return &live{clock: clock, polls: map[string]*meter{}} }

// meter returns a poll's meter; the caller holds mu.
func (l *live) meter(poll string) *meter {
	m := l.polls[poll]
	if m == nil {
		m = &meter{refused: map[string]int64{}}
		l.polls[poll] = m
	}
	return m
}

// second returns the present second's place in the ring.
func (m *meter) second(now int64) *int64 {
	s := &m.seconds[now%int64(len(m.seconds))]
	if s.at != now {
		s.at, s.ballots = now, 0
	}
	return &s.ballots
}

// peak returns the new peak that n ballots in this second make, or nil.
func (l *live) peak(poll string, n int) *store.Peak {
	now := l.clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.meter(poll)
	if total := *m.second(now.Unix()) + int64(n); total > m.best {
		return &store.Peak{Ballots: total, At: now.Truncate(time.Second).UnixMilli()}
	}
	return nil
}

// recorded counts ballots.
func (l *live) recorded(poll string, n int) {
	now := l.clock().Unix()
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.meter(poll)
	s := m.second(now)
	*s += int64(n)
	m.best = max(m.best, *s)
}

// maxMeters bounds what calls for polls that do not exist can make the server remember.
const maxMeters = 1024

// refused counts a refusal.
func (l *live) refused(poll, code string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.polls[poll] == nil && len(l.polls) >= maxMeters {
		return
	}
	l.meter(poll).refused[code]++
}

// snapshot returns the votes per second of late, and the refusals by code.
func (l *live) snapshot(poll string) (rate float64, refused map[string]int64) {
	now := l.clock().Unix()
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.polls[poll]
	if m == nil {
		return 0, map[string]int64{}
	}
	var sum int64
	for _, s := range m.seconds {
		// Whole seconds only: the present one is not over.
		if s.at < now && s.at >= now-rateSpan {
			sum += s.ballots
		}
	}
	return float64(sum) / rateSpan, maps.Clone(m.refused)
}

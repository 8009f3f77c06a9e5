package server

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/popvote/popvote/apps/control-panel/operators"
)

// refusedEvery bounds what strangers can write into the operators' chain: of each kind of refusal one entry in this
// time, which says how many there were.
const refusedEvery = time.Minute

// refusalLog holds back what was refused soon after an entry of its kind.
type refusalLog struct {
	mu sync.Mutex
	of map[string]*heldBack
}

// heldBack is what the next entry of a kind will say.
type heldBack struct {
	noted  time.Time
	detail operators.Detail
	why    string
	times  int
}

// suspect notes what was tried and refused.
func (s *Server) suspect(ctx context.Context, action string, d operators.Detail, why string) {
	s.refusals.add(action, d, why)
	s.refusals.flush(ctx, s)
}

func (r *refusalLog) add(action string, d operators.Detail, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[string]*heldBack{}
	}
	h := r.of[action]
	if h == nil {
		h = &heldBack{}
		r.of[action] = h
	}
	// The last one stands for those that came with it.
	h.detail, h.why = d, why
	h.times++
}

// due takes what is to be noted now.
func (r *refusalLog) due(now time.Time) []operators.Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	var due []operators.Entry
	for action, h := range r.of {
		if h.times == 0 || !h.noted.IsZero() && now.Sub(h.noted) < refusedEvery {
			continue
		}
		d := h.detail
		d.Times = h.times
		due = append(due, operators.Entry{Actor: panelActor, Action: action, Reason: h.why, Detail: d})
		h.noted, h.times = now, 0
	}
	return due
}

// flush notes what is due.
func (r *refusalLog) flush(ctx context.Context, s *Server) {
	for _, e := range r.due(s.clock()) {
		if err := s.book.Write(ctx, func(*operators.State) (*operators.Entry, error) { return &e, nil }); err != nil {
			s.log.WarnContext(ctx, "couldn't note what was refused", slog.String("what", e.Action), slog.Int("times", e.Detail.Times), slog.Any("error", err))
		}
	}
}

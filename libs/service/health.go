package service

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// checkTime is how long one check may take: probes ask every few seconds, and a check that takes
// longer has failed.
const checkTime = 2 * time.Second

// Check asks whether something that the service needs is there. It is called for each probe, at once
// with the others; its error is shown on the admin listener, so it must not name a voter.
type Check func(ctx context.Context) error

// Health knows whether a service may be given work. The zero value is ready. Safe for concurrent use.
type Health struct {
	draining atomic.Bool

	mu     sync.Mutex // guards checks
	checks []namedCheck
}

type namedCheck struct {
	name  string
	check Check
	need  bool
}

// Need adds a check of something without which the service can't work: its failing is unready.
func (h *Health) Need(name string, check Check) { h.add(namedCheck{name, check, true}) }

// Want adds a check of something whose loss the service survives: its failing is degraded, and still
// ready. Taking a service out because its SMS provider is down would make a bad day worse.
func (h *Health) Want(name string, check Check) { h.add(namedCheck{name, check, false}) }

func (h *Health) add(c namedCheck) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, c)
}

// Drain makes the service unready for good: it is about to stop.
func (h *Health) Drain() { h.draining.Store(true) }

// The states of a service, and of one thing it uses (StateReady, StateDegraded, StateUnready).
const (
	StateReady    = "ready"
	StateDegraded = "degraded"
	StateUnready  = "unready"
	StateDraining = "draining"
)

// Readiness is what /readyz answers.
type Readiness struct {
	State  string                    `json:"state"`
	Checks map[string]CheckReadiness `json:"checks,omitempty"`
}

// CheckReadiness is the outcome of one check.
type CheckReadiness struct {
	State string `json:"state"`
	Error string `json:"error,omitempty"`
}

// Readiness runs all checks and says what they come to.
func (h *Health) Readiness(ctx context.Context) Readiness {
	h.mu.Lock()
	checks := append([]namedCheck(nil), h.checks...)
	h.mu.Unlock()

	outcomes := make([]CheckReadiness, len(checks))
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	var group errgroup.Group
	for i, c := range checks {
		group.Go(func() error {
			outcomes[i] = c.run(ctx)
			return nil
		})
	}
	_ = group.Wait() // checks report through outcomes

	all := Readiness{State: StateReady, Checks: map[string]CheckReadiness{}}
	for i, outcome := range outcomes {
		all.Checks[checks[i].name] = outcome
		if outcome.State == StateUnready || outcome.State == StateDegraded && all.State == StateReady {
			all.State = outcome.State
		}
	}
	if h.draining.Load() {
		all.State = StateDraining
	}
	return all
}

// run doesn't wait for a check that ignores its context.
func (c namedCheck) run(ctx context.Context) CheckReadiness {
	done := make(chan error, 1)
	go func() { done <- c.check(ctx) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	switch {
	case err == nil:
		return CheckReadiness{State: StateReady}
	case c.need:
		return CheckReadiness{State: StateUnready, Error: err.Error()}
	default:
		return CheckReadiness{State: StateDegraded, Error: err.Error()}
	}
}

func (h *Health) serveReady(w http.ResponseWriter, r *http.Request) {
	readiness := h.Readiness(r.Context())
	status := http.StatusOK
	if readiness.State == StateUnready || readiness.State == StateDraining {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, readiness)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a prober that went away needs no answer
}

package discovery

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
)

// canary is the tag of an instance that a deployment is trying out.
const canary = "canary"

var (
	// errNoLeader is an answer that may be of any age.
	errNoLeader = errors.New("the answer is of a server that knows no leader")
	// errFiltered is one that lacks what the token may not see.
	errFiltered = errors.New("the token may not see all instances: its policy lacks the service, or the nodes")
)

// view is what is known of a service in one datacenter. It is never changed, only replaced.
type view struct {
	// instances is the last set that was not empty.
	instances []Instance
	// answered is when Consul last said anything, or when the watch was made.
	answered time.Time
	// emptied is since when Consul says that there is no instance; zero while there are some.
	emptied time.Time
	// failing is since when Consul says nothing, and why is what it was then; zero while it does.
	failing time.Time
	why     error
}

// watch follows one service in one datacenter of Consul's.
type watch struct {
	name       string // as Find has it
	service    string
	tags       []string
	datacenter string // empty for the agent's own
	consul     *Consul

	seen     atomic.Pointer[view]
	failures atomic.Int64

	due time.Time // when the next question may be asked; follow's own
}

// follow keeps seen up until the context ends.
func (w *watch) follow(ctx context.Context) {
	index, failed := uint64(0), 0
	for w.pace(ctx) {
		found, next, err := w.ask(ctx, index)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.failed(ctx, err)
			// Whoever answers next may have begun anew, and would let an index of its future wait.
			index = 0
			if !sleep(ctx, backOff(failed)) {
				return
			}
			failed++
		default:
			w.answered(ctx, found)
			index, failed = advance(index, next), 0
		}
	}
}

// advance is the index to ask with after an answer, as Consul's documentation of blocking queries has it:
// never 0, which does not wait, unless the index went backwards and nothing is known any more.
func advance(last, next uint64) uint64 {
	if next = max(next, 1); next < last {
		return 0
	}
	return next
}

// backOff is how long to wait after so many failures before this one.
func backOff(failed int) time.Duration {
	longest := min(backOffMost, backOffFirst<<min(failed, 10))
	return longest/2 + rand.N(longest/2)
}

// pace waits until there may be a question: a service that changes all the time is asked for once a
// second, after the first few.
func (w *watch) pace(ctx context.Context) bool {
	now := w.consul.clock()
	if first := now.Add(-burst * pace); w.due.Before(first) {
		w.due = first
	}
	w.due = w.due.Add(pace)
	return sleep(ctx, w.due.Sub(now))
}

func sleep(ctx context.Context, d time.Duration) bool {
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// ask waits for an answer that is newer than index; 0 takes any. It has a deadline of its own: a frozen
// agent keeps its connections open.
func (w *watch) ask(ctx context.Context, index uint64) ([]Instance, uint64, error) {
	c := w.consul
	limit := c.answerTime
	if index > 0 {
		limit += c.waitTime + c.waitTime/16 // by which Consul itself spreads them
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	token, err := c.token()
	if err != nil {
		return nil, 0, err
	}
	entries, meta, err := c.client.Health().ServiceMultipleTags(w.service, w.tags, true, (&api.QueryOptions{
		Datacenter: w.datacenter, AllowStale: true, WaitIndex: index, WaitTime: c.waitTime, Token: token,
		// The order means nothing here. But what is to be ordered can't come from the agent's streaming, whose
		// answers tell neither whether there is a leader nor whether the token hides something.
		Near: "_agent",
	}).WithContext(ctx))
	if err != nil {
		return nil, 0, err
	}
	found := instancesOf(entries)
	// To have anything at all is better than nothing.
	if err := doubtful(meta); err != nil && (len(found) == 0 || len(w.seen.Load().instances) > 0) {
		return nil, 0, err
	}
	return found, meta.LastIndex, nil
}

// doubtful says why an answer is no news. Nothing can be registered without a leader, and a server that has
// just started may even know less than before; and what a token may not see any more is still there.
func doubtful(meta *api.QueryMeta) error {
	switch {
	case !meta.KnownLeader:
		return errNoLeader
	case meta.ResultsFilteredByACLs:
		return errFiltered
	default:
		return nil
	}
}

func instancesOf(entries []*api.ServiceEntry) []Instance {
	found := make([]Instance, 0, len(entries))
	for _, e := range entries {
		if e.Service.Port == 0 || slices.Contains(e.Service.Tags, canary) {
			continue
		}
		found = append(found, Instance{
			Address: net.JoinHostPort(cmp.Or(e.Service.Address, e.Node.Address), strconv.Itoa(e.Service.Port)),
			Cloud:   cmp.Or(e.Service.Meta["cloud"], e.Node.Meta["cloud"]),
		})
	}
	slices.SortFunc(found, func(a, b Instance) int { return cmp.Compare(a.Address, b.Address) })
	// One that was registered twice is still one.
	return slices.CompactFunc(found, func(a, b Instance) bool { return a.Address == b.Address })
}

// answered takes what Consul says.
func (w *watch) answered(ctx context.Context, found []Instance) {
	now, old := w.consul.clock(), w.seen.Load()
	next := &view{instances: found, answered: now}
	log := w.log()
	if !old.failing.IsZero() {
		log.InfoContext(ctx, "Consul answers again", slog.Duration("after", now.Sub(old.failing)))
	}
	switch {
	case len(found) == 0 && len(old.instances) > 0:
		next.instances, next.emptied = old.instances, old.emptied
		if next.emptied.IsZero() {
			next.emptied = now
			log.WarnContext(ctx, "Consul has no instance any more: those known are kept for a while", slog.Int("instances", len(old.instances)))
		}
	case !old.emptied.IsZero() || !slices.Equal(found, old.instances):
		log.InfoContext(ctx, "instances changed", slog.Int("before", len(old.instances)), slog.Int("instances", len(found)))
	}
	w.seen.Store(next)
}

// failed keeps what is known.
func (w *watch) failed(ctx context.Context, err error) {
	w.failures.Add(1)
	old := w.seen.Load()
	if !old.failing.IsZero() {
		return
	}
	next := *old
	next.failing, next.why = w.consul.clock(), err
	w.seen.Store(&next)
	w.log().WarnContext(ctx, "Consul does not answer: the instances known are kept", slog.Int("instances", len(old.instances)), slog.Any("error", err))
}

func (w *watch) log() *slog.Logger {
	return w.consul.log.With(slog.String("service", w.name), slog.String("datacenter", w.datacenter))
}

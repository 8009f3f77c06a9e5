//go:build unix

package drill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/popvote/popvote/apps/popvote/internal/cluster"
	"github.com/popvote/popvote/apps/popvote/internal/netns"
)

// Report is what a drill measured. Times are seconds since its load began.
type Report struct {
	Name       string  `json:"name"`
	Hypothesis string  `json:"hypothesis"`
	Target     string  `json:"target"`
	Before     string  `json:"before"`
	Limit      float64 `json:"limit_seconds"`

	FaultAt float64 `json:"fault_at"`
	UndoAt  float64 `json:"undo_at"`
	WholeAt float64 `json:"whole_at"`
	End     float64 `json:"end"`

	count
	// Gap is the longest time without an acknowledgement that began in the fault; GapAfter after its end.
	Gap      float64 `json:"gap_seconds"`
	GapAfter float64 `json:"gap_after_seconds"`
	// LateAcks came in a fault that allows none, after a lease had run out.
	LateAcks int `json:"late_acks"`
	// Replaced is how long after the fault Nomad ran as many copies as before in the other clouds; 0 if never.
	Replaced float64 `json:"replaced_seconds"`
	// The 99th percentile of how long a voter waited, milliseconds.
	P99Before float64 `json:"p99_before_ms"`
	P99During float64 `json:"p99_during_ms"`
	P99After  float64 `json:"p99_after_ms"`

	Events []Event `json:"events"`
	// PerSecond is how many votes were acknowledged in each second.
	PerSecond []int    `json:"per_second"`
	Wrong     []string `json:"wrong"`
}

// Event is something that was seen.
type Event struct {
	At   float64 `json:"at"`
	What string  `json:"what"`
}

// OK is whether the hypothesis held.
func (r *Report) OK() bool { return len(r.Wrong) == 0 }

// replaceLimit is how long Nomad may take to replace lost work.
const replaceLimit = 90 * time.Second

// lease is how long a primary that can't reach Consul may still acknowledge: Patroni's ttl and a little.
const lease = 25 * time.Second

// runner is one drill as it runs.
type runner struct {
	Drill
	cluster *cluster.Cluster
	load    *load
	say     func(string)
	report  *Report
	seen    cluster.Status
	work    map[string]int
}

// Run runs a drill on a cluster where all is well, with some voters at once. What was taken away is given
// back whatever happens, also when ctx ends. An error says that it couldn't be run; whether its
// hypothesis held is in the report.
func Run(ctx context.Context, c *cluster.Cluster, d Drill, voters int, say func(string)) (r *Report, err error) {
	if err := c.Ready(ctx); err != nil {
		return nil, fmt.Errorf("couldn't begin %s: not all is as it should be: %w", d.Name, err)
	}
	target, err := c.Gather(ctx)
	if err != nil {
		return nil, err
	}
	if d.other {
		target = c.Network.All()[(slices.Index(c.Network.All(), target)+1)%len(c.Network.Clouds)]
	}
	if err := c.PlaceWork(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.RemoveWork(context.WithoutCancel(ctx))) }()
	l, err := newLoad(ctx, c)
	if err != nil {
		return nil, err
	}
	run := &runner{Drill: d, cluster: c, load: l, say: say, work: map[string]int{}, report: &Report{
		Name: d.Name, Hypothesis: d.Hypothesis, Target: target.Name, Limit: d.Limit.Seconds(), Events: []Event{}, Wrong: []string{},
	}}
	loading, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.run(loading, voters)
	}()
	if err := run.through(ctx, target); err != nil {
		return nil, err
	}
	stop()
	<-done
	run.report.count, err = l.check(ctx)
	if err != nil {
		return nil, err
	}
	run.judge()
	return run.report, nil
}

func (r *runner) now() float64 { return time.Since(r.load.began).Seconds() }

func (r *runner) event(format string, args ...any) {
	e := Event{At: r.now(), What: fmt.Sprintf(format, args...)}
	r.report.Events = append(r.report.Events, e)
	r.say(fmt.Sprintf("%6.1f s  %s: %s", e.At, r.Name, e.What))
}

// through goes through the drill: a steady time, the fault, the return, a steady time.
func (r *runner) through(ctx context.Context, target netns.Cloud) error {
	r.seen = r.cluster.Status(ctx)
	r.report.Before = fmt.Sprintf("leaders: Consul %s, Nomad %s, Vault %s, PostgreSQL %s (synchronous standby %s)",
		r.seen.Consul, r.seen.Nomad, r.seen.Vault, r.seen.Primary, r.seen.Synchronous)
	if err := r.watch(ctx, 8*time.Second, func() bool { return false }); err != nil {
		return err
	}
	if r.load.last() == 0 {
		return errors.New("couldn't begin: no vote was acknowledged in a steady cluster")
	}
	r.report.FaultAt = r.now()
	r.event("the fault begins in %s", target.Name)
	err := r.fault(ctx, r.cluster, target)
	if err == nil {
		began := time.Now()
		err = r.watch(ctx, r.Hold, func() bool { return r.enough(ctx, target, began) })
	}
	r.report.UndoAt = r.now()
	// Also when somebody has interrupted us.
	back := context.WithoutCancel(ctx)
	r.event("the fault ends")
	if undone := r.undo(back, r.cluster, target); err != nil || undone != nil {
		return errors.Join(err, undone)
	}
	if err := r.whole(ctx); err != nil {
		return err
	}
	r.report.WholeAt = r.now()
	r.event("all is as before")
	err = r.watch(ctx, 6*time.Second, func() bool { return false })
	r.report.End = r.now()
	return err
}

// enough is the stop rule: the fault has shown what it can, or it does more harm than was foreseen.
func (r *runner) enough(ctx context.Context, target netns.Cloud, began time.Time) bool {
	if r.report.Replaced == 0 && r.Works {
		r.work = r.cluster.Work(ctx)
		elsewhere := 0
		for cloud, n := range r.work {
			if cloud != target.Name {
				elsewhere += n
			}
		}
		if elsewhere >= len(r.cluster.Network.Clouds) {
			r.report.Replaced = time.Since(began).Seconds()
			r.event("Nomad has replaced the lost work")
		}
	}
	silent := time.Since(r.load.began) - r.load.last()
	if r.Limit > 0 && silent > 2*r.Limit {
		r.event("stopped: no vote for %.0f s", silent.Seconds())
		return true
	}
	return r.Works && r.report.Replaced > 0 && silent < time.Second && time.Since(began) > 30*time.Second
}

// whole waits until all is as it should be.
func (r *runner) whole(ctx context.Context) error {
	var last error
	err := r.watch(ctx, 3*time.Minute, func() bool {
		last = r.cluster.Ready(ctx)
		return last == nil
	})
	if err == nil && last != nil {
		err = fmt.Errorf("couldn't see %s through: what was taken away is back, and not all is as it was: %w", r.Name, last)
	}
	return err
}

// watch notes what changes, until enough or the time is up.
func (r *runner) watch(ctx context.Context, limit time.Duration, enough func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTime)
	defer cancel()
	for ctx.Err() == nil && !enough() {
		s := r.cluster.Status(ctx)
		if ctx.Err() != nil {
			break
		}
		for _, x := range []struct{ what, was, is string }{
			{"Consul's leader", r.seen.Consul, s.Consul},
			{"Nomad's leader", r.seen.Nomad, s.Nomad},
			{"Vault's active server", r.seen.Vault, s.Vault},
			{"PostgreSQL's primary", r.seen.Primary, s.Primary},
			{"the synchronous standby", r.seen.Synchronous, s.Synchronous},
		} {
			switch {
			case x.was == x.is:
			case x.is == "":
				r.event("%s: none", x.what)
			default:
				r.event("%s: %s", x.what, x.is)
			}
		}
		r.seen = s
		wait(ctx, 400*time.Millisecond)
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errTime) {
		return cause
	}
	return nil
}

var errTime = errors.New("the time is up")

// judge computes the figures, and says what is not as it was foreseen.
func (r *runner) judge() {
	p, acks := r.report, r.load.acks
	at := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	fault, undo, end := at(p.FaultAt), at(p.UndoAt), at(p.End)
	p.Gap, p.GapAfter = gap(acks, fault, undo).Seconds(), gap(acks, undo, end).Seconds()
	p.P99Before = p99(acks, 0, fault).Seconds() * 1000
	p.P99During = p99(acks, fault, undo).Seconds() * 1000
	p.P99After = p99(acks, undo, end).Seconds() * 1000
	p.PerSecond = make([]int, int(p.End)+1)
	for _, a := range acks {
		if s := int(a.at.Seconds()); s < len(p.PerSecond) {
			p.PerSecond[s]++
		}
		if r.Limit == 0 && a.at > fault+lease && a.at < undo {
			p.LateAcks++
		}
	}
	wrong := func(format string, args ...any) { p.Wrong = append(p.Wrong, fmt.Sprintf(format, args...)) }
	if p.Lost > 0 {
		wrong("%d acknowledged votes are lost", p.Lost)
	}
	if p.Doubled > 0 {
		wrong("%d votes are there twice", p.Doubled)
	}
	if p.Strange > 0 {
		wrong("%d votes are there that nobody sent", p.Strange)
	}
	if r.Limit > 0 && p.Gap > r.Limit.Seconds() {
		wrong("no vote was acknowledged for %.1f s, and %.0f s were allowed", p.Gap, r.Limit.Seconds())
	}
	if r.Limit == 0 && p.LateAcks > 0 {
		wrong("%d votes were acknowledged where none could be safe", p.LateAcks)
	}
	if r.Works && (p.Replaced == 0 || p.Replaced > replaceLimit.Seconds()) {
		wrong("Nomad didn't replace the lost work within %.0f s", replaceLimit.Seconds())
	}
}

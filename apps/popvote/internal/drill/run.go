//go:build unix

package drill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Scene is where a drill plays: the cluster on this machine (Lab), or one that a Plan tells of.
type Scene interface {
	// begin makes sure that all is as it should be, and chooses what is taken away. It says what, and how
	// all was before.
	begin(ctx context.Context, d Drill) (target, before string, err error)
	// load makes voters, so many at once, who leave what they write down in dir.
	load(ctx context.Context, d Drill, at int, dir string) (*voters, error)
	// fault takes it away, and undo gives it back.
	fault(ctx context.Context, d Drill) error
	undo(ctx context.Context, d Drill) error
	// look is who leads now, by what it is about; empty: nobody, or nobody says.
	look(ctx context.Context) map[string]string
	// replaced is whether the lost work runs elsewhere, and ejected whether nobody is sent to where it was.
	replaced(ctx context.Context) bool
	ejected(ctx context.Context) bool
	// shown says what had to be seen before the fault ends, once it is; empty: not yet, or nothing has to.
	shown(ctx context.Context, d Drill) (string, error)
	// whole says what is not as it was before.
	whole(ctx context.Context) error
	// mend does what people have to do, by the runbook, before all is whole, and says what that was; empty: nothing.
	mend(ctx context.Context) (string, error)
	// settle puts back what doesn't come back by itself, and says what that was; empty: nothing.
	settle(ctx context.Context) (string, error)
}

// Options say how a drill is run.
type Options struct {
	// Voters are how many are at it at once.
	Voters int
	// Dir takes the voters' history and the poll's bundle.
	Dir string
	// Say is told what happens, as it does.
	Say func(line string)
}

// Report is what a drill measured. Times are seconds since its load began.
type Report struct {
	Name       string  `json:"name"`
	Hypothesis string  `json:"hypothesis"`
	Target     string  `json:"target"`
	Before     string  `json:"before"`
	Limit      float64 `json:"limit_seconds"`

	// FaultAt and UndoAt are when the fault began and ended, WholeAt when all was as before, and End when the last
	// look was taken.
	FaultAt float64 `json:"fault_at"`
	UndoAt  float64 `json:"undo_at"`
	WholeAt float64 `json:"whole_at"`
	End     float64 `json:"end"`

	count
	// Gap is the longest time without an acknowledgement that began in the fault, at GapAt; GapAfter after its end.
	Gap      float64 `json:"gap_seconds"`
	GapAt    float64 `json:"gap_at"`
	GapAfter float64 `json:"gap_after_seconds"`
	// WalkGap is the longest time in which nobody's phone was verified that began in the fault.
	WalkGap float64 `json:"walk_gap_seconds,omitempty"`
	// LateAcks came in a fault that allows none, after a lease had run out.
	LateAcks int `json:"late_acks"`
	// Replaced is how long after the fault Nomad ran as many copies as before in the other clouds; 0 if never.
	Replaced float64 `json:"replaced_seconds"`
	// Ejected is how long after the fault no edge sent anybody to the lost cloud any more; 0 if never, or nobody can tell.
	Ejected float64 `json:"ejected_seconds"`
	// Shown is how long after the fault what had to be seen was; 0 if never, or nothing had to.
	Shown float64 `json:"shown_seconds,omitempty"`
	// Moved are those whose leader became another.
	Moved []string `json:"moved,omitempty"`
	// Settled is what had to be put back after the return, and SettledAfter how long that took.
	Settled      string  `json:"settled,omitempty"`
	SettledAfter float64 `json:"settled_seconds,omitempty"`
	// The 99th percentile of how long a voter waited, milliseconds.
	P99Before float64 `json:"p99_before_ms"`
	P99During float64 `json:"p99_during_ms"`
	P99After  float64 `json:"p99_after_ms"`

	Events []Event `json:"events"`
	// PerSecond is how many votes were acknowledged in each second, Walks how many phones were verified.
	PerSecond []int    `json:"per_second"`
	Walks     []int    `json:"verified_per_second,omitempty"`
	Wrong     []string `json:"wrong"`
}

// Event is something that was seen.
type Event struct {
	At   float64 `json:"at"`
	What string  `json:"what"`
}

// OK is whether the hypothesis held.
func (r *Report) OK() bool { return len(r.Wrong) == 0 }

// replaceLimit is how long Nomad may take to replace lost work, and ejectLimit how long HAProxy may go on
// sending voters to a lost cloud.
const (
	replaceLimit = 90 * time.Second
	ejectLimit   = 6 * time.Second
)

// shortest is how long a fault lasts at least, and sealing how long until tokens are sealed with a new key,
// and a little.
const (
	shortest = 30 * time.Second
	sealing  = 180 * time.Second
)

// lease is how long a primary that can't reach Consul may still acknowledge: Patroni's ttl and a little.
const lease = 25 * time.Second

// runner is one drill as it runs.
type runner struct {
	Drill
	scene  Scene
	load   *voters
	say    func(string)
	report *Report
	seen   map[string]string
	known  map[string]string // what was last seen of each, if it wasn't nothing
	// out is how long after the fault the edges had left out what is lost, nanoseconds.
	out atomic.Int64
}

// Run runs a drill where all is well. What was taken away is given back whatever happens, also when ctx
// ends. An error says that it couldn't be run; whether its hypothesis held is in the report.
func Run(ctx context.Context, s Scene, d Drill, o Options) (*Report, error) {
	target, before, err := s.begin(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("couldn't begin: %w", err)
	}
	l, err := s.load(ctx, d, o.Voters, o.Dir)
	if err != nil {
		return nil, err
	}
	run := &runner{Drill: d, scene: s, load: l, say: o.Say, known: map[string]string{}, report: &Report{
		Name: d.Name, Hypothesis: d.Hypothesis, Target: target, Before: before, Limit: d.Limit.Seconds(), Events: []Event{}, Wrong: []string{},
	}}
	loading, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.run(loading, o.Voters)
	}()
	err = run.through(ctx)
	stop()
	<-done
	if err != nil {
		return nil, err
	}
	if run.report.count, err = l.check(ctx); err != nil {
		return nil, err
	}
	run.walks()
	run.judge()
	slices.SortStableFunc(run.report.Events, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	return run.report, nil
}

func (r *runner) now() float64 { return r.load.since().Seconds() }

func (r *runner) event(format string, args ...any) { r.at(r.now(), fmt.Sprintf(format, args...)) }

func (r *runner) at(when float64, what string) {
	r.report.Events = append(r.report.Events, Event{At: when, What: what})
	r.say(fmt.Sprintf("%6.1f s  %s: %s", when, r.Name, what))
}

// steady and after are how long voters vote before the fault, and after all is as before.
const (
	steady = 8 * time.Second
	after  = 6 * time.Second
)

// through goes through the drill: a steady time, the fault, the return, a steady time.
func (r *runner) through(ctx context.Context) error {
	r.seen = r.scene.look(ctx)
	maps.Copy(r.known, r.seen)
	if err := r.watch(ctx, steady, func() bool { return false }); err != nil {
		return err
	}
	if r.load.last() == 0 {
		return errors.New("couldn't begin: no vote was acknowledged where all is well")
	}
	r.report.FaultAt = r.now()
	r.event("the fault begins: %s", r.report.Target)
	began := time.Now()
	err := r.scene.fault(ctx, r.Drill)
	if err == nil {
		stop := r.edges(ctx, began)
		err = r.watch(ctx, r.Hold, func() bool { return r.enough(ctx, began) })
		stop()
	}
	r.report.UndoAt = r.now()
	// Also when somebody has interrupted us.
	back := context.WithoutCancel(ctx)
	r.event("the fault ends")
	if undone := r.scene.undo(back, r.Drill); err != nil || undone != nil {
		return errors.Join(err, undone)
	}
	if err := r.whole(ctx); err != nil {
		return err
	}
	r.report.WholeAt = r.now()
	r.event("all is as before")
	if err := r.settle(ctx); err != nil {
		return err
	}
	err = r.watch(ctx, after, func() bool { return false })
	r.report.End = r.now()
	return err
}

// edges looks, more often than all else can be looked at, when the edges have left out what is lost; it
// returns how to end that.
func (r *runner) edges(ctx context.Context, began time.Time) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for r.Works && ctx.Err() == nil {
			if r.scene.ejected(ctx) && ctx.Err() == nil {
				r.out.Store(int64(time.Since(began)))
				return
			}
			wait(ctx, 250*time.Millisecond)
		}
	}()
	return func() { cancel(); <-done }
}

// enough is the stop rule: the fault has shown what it can, or it does more harm than was foreseen.
func (r *runner) enough(ctx context.Context, began time.Time) bool {
	if r.Works {
		if out := r.out.Load(); r.report.Ejected == 0 && out > 0 {
			r.report.Ejected = time.Duration(out).Seconds()
			r.at(r.report.FaultAt+r.report.Ejected, "no edge sends anybody there any more")
		}
		if r.report.Replaced == 0 && r.scene.replaced(ctx) {
			r.report.Replaced = time.Since(began).Seconds()
			r.event("the lost work runs elsewhere")
		}
	}
	if r.report.Shown == 0 {
		// Who can't be asked now is asked again.
		if what, err := r.scene.shown(ctx, r.Drill); err == nil && what != "" {
			r.report.Shown = time.Since(began).Seconds()
			r.event("%s", what)
		}
	}
	silent := r.load.since() - r.load.last()
	if r.Limit > 0 && silent > 2*r.Limit {
		r.event("stopped: no vote for %.0f s", silent.Seconds())
		return true
	}
	held := time.Since(began)
	return silent < time.Second && (r.Works && r.report.Replaced > 0 && held > shortest || r.says != "" && r.report.Shown > 0 && held > sealing)
}

// whole waits until all is as it should be.
func (r *runner) whole(ctx context.Context) error {
	var last error
	err := r.watch(ctx, 5*time.Minute, func() bool {
		if last = r.scene.whole(ctx); last == nil {
			return true
		}
		switch done, err := r.scene.mend(ctx); {
		case err != nil:
			last = errors.Join(last, err)
		case done != "":
			r.event("%s", done)
		}
		return false
	})
	if err == nil && last != nil {
		err = fmt.Errorf("couldn't see it through: what was taken away is back, and not all is as it was: %w", last)
	}
	return err
}

// settle puts back what doesn't come back by itself, while voters go on.
func (r *runner) settle(ctx context.Context) error {
	begun := time.Now()
	what, err := r.scene.settle(ctx)
	if what != "" {
		r.report.Settled, r.report.SettledAfter = what, time.Since(begun).Seconds()
		r.event("%s", what)
	}
	return err
}

// watch notes what changes, until enough or the time is up.
func (r *runner) watch(ctx context.Context, limit time.Duration, enough func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTime)
	defer cancel()
	for ctx.Err() == nil && !enough() {
		now := r.scene.look(ctx)
		if ctx.Err() != nil {
			break
		}
		for _, what := range slices.Sorted(maps.Keys(now)) {
			switch is := now[what]; {
			case r.seen[what] == is:
			case is == "":
				r.event("%s: none", what)
			default:
				r.event("%s: %s", what, is)
			}
			if is := now[what]; is != "" {
				if was := r.known[what]; was != is && was != "" && what != standby {
					r.report.Moved = append(r.report.Moved, what)
				}
				r.known[what] = is
			}
		}
		r.seen = now
		wait(ctx, 400*time.Millisecond)
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errTime) {
		return cause
	}
	return nil
}

// standby is what a look tells of that leads nothing.
const standby = "the synchronous standby"

var errTime = errors.New("the time is up")

// seconds makes a time of a figure of the report.
func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// walks computes the figures of the first two steps.
func (r *runner) walks() {
	p, times := r.report, r.load.through
	p.Walks = make([]int, int(p.End)+1)
	through := make([]ack, len(times))
	for i, at := range times {
		through[i].at = at
		if s := int(at.Seconds()); s < len(p.Walks) {
			p.Walks[s]++
		}
	}
	longest, _ := gap(through, seconds(p.FaultAt), seconds(p.UndoAt))
	p.WalkGap = longest.Seconds()
}

// judge computes the figures, and says what is not as it was foreseen.
func (r *runner) judge() {
	p, acks := r.report, r.load.acknowledged()
	fault, undo, end := seconds(p.FaultAt), seconds(p.UndoAt), seconds(p.End)
	in, at := gap(acks, fault, undo)
	p.Gap, p.GapAt = in.Seconds(), at.Seconds()
	in, _ = gap(acks, undo, end)
	p.GapAfter = in.Seconds()
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
	wrong := func(is bool, format string, args ...any) {
		if is {
			p.Wrong = append(p.Wrong, fmt.Sprintf(format, args...))
		}
	}
	wrong(p.Lost > 0, "%d acknowledged votes are lost", p.Lost)
	wrong(p.Doubled > 0, "%d votes are there twice", p.Doubled)
	wrong(p.Strange > 0, "%d votes are there that nobody sent", p.Strange)
	for _, promise := range p.Broken {
		wrong(true, "a promise is broken: %s", promise)
	}
	for _, code := range slices.Sorted(maps.Keys(p.Refused)) {
		wrong(true, "%d votes were refused for good: %s", p.Refused[code], code)
	}
	wrong(r.Limit > 0 && p.Gap > r.Limit.Seconds(), "no vote was acknowledged for %.1f s, and %.0f s were allowed", p.Gap, r.Limit.Seconds())
	wrong(r.Walk > 0 && p.WalkGap > r.Walk.Seconds(), "nobody's phone was verified for %.1f s, and %.0f s were allowed", p.WalkGap, r.Walk.Seconds())
	wrong(r.Limit == 0 && p.LateAcks > 0, "%d votes were acknowledged where none could be safe", p.LateAcks)
	wrong(r.Works && (p.Replaced == 0 || p.Replaced > replaceLimit.Seconds()), "Nomad didn't replace the lost work within %.0f s", replaceLimit.Seconds())
	wrong(r.Still && len(p.Moved) > 0, "others lead: %s", strings.Join(p.Moved, ", "))
	wrong(r.says != "" && p.Shown == 0, "it was never so that %s", r.says)
	wrong(r.Works && !r.Gentle && (p.Ejected == 0 || p.Ejected > ejectLimit.Seconds()), "edges still sent voters to the lost cloud after %.0f s", ejectLimit.Seconds())
}

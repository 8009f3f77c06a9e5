// Package bench measures an instance that it starts itself, in interleaved rounds with yardsticks: a bare
// Gin echo and, for the programs apart, PostgreSQL's own benchmark and the same path written the naive
// way. On a shared machine absolute numbers swing with the neighbours; the ratio within a round, and the
// processor time per vote, swing much less.
package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/popvote/popvote/apps/popvote/internal/progress"
	"github.com/popvote/popvote/libs/service"
)

// Options are what to measure.
type Options struct {
	// Casts measures bare casts (tokens and sealed ballots prepared before), Journeys whole journeys.
	Casts, Journeys bool
	// Programs is a directory with api-server and ballot-server: they are measured, each by itself, on
	// PostgreSQL, casts only. Empty measures everything in one process, on SQLite.
	Programs string
	// Edge measures Programs once more as they run in a cluster; nil does not.
	Edge *Edge
	// Held is how many voters wait at one API server of Programs: nothing else is measured then. 0 holds none.
	Held int
	// Clients is how many voters are at it at once.
	Clients int
	// Phase is how long each measurement lasts.
	Phase  time.Duration
	Rounds int
	// Dir is where the data directory is made; it should be on the disk to measure.
	Dir string
	// Profile is a directory for CPU profiles of the instance, one per program, mode and loop; empty takes
	// none.
	Profile string
	// Target is a running instance to measure instead, journeys only.
	Target Target
}

// Target is a running instance.
type Target struct {
	// API and Phone are host:port of its public listener and its simulated phone; Poll is the poll to
	// vote in.
	API, Phone, Poll string
}

const (
	// overload is how many times the rate just seen an overloaded server is offered.
	overload = 3
	// crowding is how many times as many connections bring that: voters do not queue for each other.
	crowding = 16
	// slowBy is what a commit takes longer in modeSlow.
	slowBy = 5 * time.Millisecond
)

// bench is a benchmark under way.
type bench struct {
	Options
	bar      *progress.Bar
	instance *instance
	edge     *instance // nil if it is not measured
	echo     *process
	echoAt   string
	report   *Report
	// voters counts those used, so that no phase meets another's.
	voters int64
	// naive counts what the naive path acknowledged.
	naive int64
	// expect is the last rate seen by mode, to prepare enough.
	expect map[string]float64
	// steps counts phases for the bar.
	step, steps int64
}

// Run measures. Bars go to stderr.
func Run(ctx context.Context, o Options, stderr io.Writer) (report *Report, err error) {
	service.Tune() // and what is started here inherits it, yardsticks and database included
	b := &bench{Options: o, bar: progress.New(stderr, "measuring"), expect: map[string]float64{}}
	if o.Profile != "" {
		if err := os.MkdirAll(o.Profile, 0o755); err != nil {
			return nil, fmt.Errorf("couldn't make the directory for profiles: %w", err)
		}
	}
	load, _ := os.ReadFile("/proc/loadavg") // elsewhere there is none
	b.report = &Report{
		Machine: Machine{Cores: runtime.NumCPU(), Build: service.Version(), Load: string(bytes.TrimSpace(load)), DataDisk: o.Dir},
		Clients: o.Clients, Seconds: o.Phase.Seconds(), Rounds: []Round{},
	}
	if o.Held > 0 {
		return b.report, runHeld(ctx, o, b.report, stderr)
	}
	if b.echo, b.echoAt, err = spawnEcho(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.echo.stop()) }()
	b.instance, err = b.start(ctx)
	defer func() { err = errors.Join(err, b.instance.close()) }()
	if err != nil {
		return nil, err
	}
	if o.Edge != nil {
		b.edge, err = startEdge(ctx, o, b.instance.apart)
		defer func() { err = errors.Join(err, b.edge.close()) }()
		if err != nil {
			return nil, err
		}
	}
	return b.report, errors.Join(b.rounds(ctx), b.bar.Close())
}

func (b *bench) start(ctx context.Context) (*instance, error) {
	switch {
	case b.Target.API != "":
		return joinInstance(ctx, b.Target)
	case b.Programs != "":
		return startApart(ctx, b.Options)
	}
	return startEmbedded(ctx, b.Options)
}

// rounds takes all measurements, and asks the box what came of them.
func (b *bench) rounds(ctx context.Context) error {
	measurements := b.measurements()
	for _, m := range measurements {
		b.steps += int64(b.Rounds * m.phases)
	}
	if err := b.warmUp(ctx); err != nil {
		return err
	}
	for turn := range b.Rounds {
		var round Round
		for i := range measurements {
			m := measurements[(i+turn)%len(measurements)]
			phases, err := m.take(ctx)
			if err != nil {
				return fmt.Errorf("couldn't measure in round %d: %w", turn+1, err)
			}
			round.Phases = append(round.Phases, phases...)
			b.step += int64(m.phases)
			b.bar.At(b.step, b.steps)
		}
		b.report.Rounds = append(b.report.Rounds, round)
	}
	b.report.Ratios = b.report.ratios()
	return b.audit(ctx)
}

// audit has the databases say what they hold.
func (b *bench) audit(ctx context.Context) (err error) {
	if b.report.Box, err = b.instance.audit(ctx); err != nil || b.instance.apart == nil {
		return err
	}
	if b.edge != nil {
		box, err := b.edge.audit(ctx)
		if err != nil {
			return err
		}
		b.report.Edge = &box
	}
	if stored, err := b.instance.apart.naiveVotes(); err != nil || stored != b.naive {
		return errors.Join(fmt.Errorf("the naive path acknowledged %d votes and stored %d", b.naive, stored), err)
	}
	return nil
}

// measurement is phases that belong together, taken one after the other.
type measurement struct {
	phases int
	take   func(context.Context) ([]Phase, error)
}

// measurements are what a round is made of, in the order of the first.
func (b *bench) measurements() []measurement {
	one := func(take func(context.Context) (Phase, error)) measurement {
		return measurement{1, func(ctx context.Context) ([]Phase, error) {
			p, err := take(ctx)
			return []Phase{p}, err
		}}
	}
	out := []measurement{one(b.echoes)}
	if b.Casts {
		out = append(out, measurement{2, b.bothCasts(b.instance, modeCasts)})
	}
	if b.edge != nil { // right after what it is compared with
		out = append(out, measurement{2, b.bothCasts(b.edge, modeEdge)})
	}
	if b.Journeys {
		out = append(out, measurement{2, b.bothJourneys})
	}
	if b.Casts {
		out = append(out, one(b.overloaded(b.instance, modeOverload, modeCasts)))
	}
	if b.edge != nil {
		out = append(out, one(b.overloaded(b.edge, modeEdgeOverload, modeEdge)))
	}
	if b.Programs != "" {
		out = append(out, one(b.pgbench), one(b.naiveCasts), one(b.slowCasts(b.instance, modeSlow)))
	}
	if b.edge != nil {
		out = append(out, one(b.slowCasts(b.edge, modeEdgeSlow)))
	}
	return out
}

// warmUp fills caches and pools, and learns how much to prepare.
func (b *bench) warmUp(ctx context.Context) error {
	phase := b.Phase
	b.Phase = min(phase, 2*time.Second)
	defer func() { b.Phase = phase }()
	b.expect[modeCasts], b.expect[modeNaive], b.expect[modeEdge] = 6000, 4000, 4000
	if b.Casts {
		if _, err := b.casts(ctx, b.instance, modeCasts, 0); err != nil {
			return err
		}
	}
	if b.edge != nil {
		if _, err := b.casts(ctx, b.edge, modeEdge, 0); err != nil {
			return err
		}
	}
	if b.Journeys {
		if _, err := b.journeys(ctx, 0); err != nil {
			return err
		}
	}
	if b.Programs != "" {
		if _, err := b.naiveCasts(ctx); err != nil {
			return err
		}
	}
	return nil
}

// bothCasts measures casts in a closed loop, then in an open one at half the rate just seen.
func (b *bench) bothCasts(at *instance, mode string) func(context.Context) ([]Phase, error) {
	return func(ctx context.Context) ([]Phase, error) {
		atMost, err := b.casts(ctx, at, mode, 0)
		if err != nil {
			return nil, err
		}
		half, err := b.casts(ctx, at, mode, atMost.PerSecond/2)
		return []Phase{atMost, half}, err
	}
}

func (b *bench) bothJourneys(ctx context.Context) ([]Phase, error) {
	atMost, err := b.journeys(ctx, 0)
	if err != nil {
		return nil, err
	}
	half, err := b.journeys(ctx, atMost.PerSecond/2)
	return []Phase{atMost, half}, err
}

func (b *bench) echoes(ctx context.Context) (Phase, error) {
	body := fmt.Appendf(nil, `{"sealed":"%0*d"}`, b.instance.sealedLength(), 0)
	request := post(b.echoAt, "/echo", "Authorization: Bearer "+fmt.Sprintf("%0600d", 0)+"\r\nIdempotency-Key: "+randomID()+"\r\n", body)
	return b.measure(ctx, load{
		mode: modeEcho, count: unbounded, clients: b.Clients,
		serving: serving{{"echo", b.echo.cmd.Process.Pid}}, client: echoer(b.echoAt, request),
	})
}

// casts measures bare casts: closed if rate is 0, else open at that rate.
func (b *bench) casts(ctx context.Context, at *instance, mode string, rate float64) (Phase, error) {
	l := load{mode: mode, rate: rate, clients: b.Clients, serving: at.serving, admins: at.admins}
	p, err := b.cast(ctx, at, l, at.api)
	at.acknowledged += int64(p.Count)
	return p, err
}

// cast prepares a load of casts for an instance, and measures them at one of its faces.
func (b *bench) cast(ctx context.Context, at *instance, l load, to face) (Phase, error) {
	l.count = int64(l.rate * b.Phase.Seconds())
	if l.rate == 0 {
		expect := b.expect[l.mode]
		if expect == 0 {
			expect = b.expect[modeCasts]
		}
		l.count = int64(expect*1.5*b.Phase.Seconds()) + int64(l.clients)
	}
	requests, err := prepareCasts(ctx, to.address, at.manifest, at.tokens, l.count, func(done int64) {
		b.bar.At(b.step*l.count+done, b.steps*l.count)
	})
	if err != nil {
		return Phase{}, err
	}
	l.client = caster(to, requests)
	return b.measure(ctx, l)
}

// overloaded offers an instance more than it can take: what it took is what was last seen of another mode.
func (b *bench) overloaded(at *instance, mode, took string) func(context.Context) (Phase, error) {
	return func(ctx context.Context) (Phase, error) {
		l := load{
			mode: mode, rate: overload * b.expect[took], clients: crowding * b.Clients,
			serving: at.serving, admins: at.admins, turnsAway: true,
		}
		p, err := b.cast(ctx, at, l, at.api)
		at.acknowledged += int64(p.Count)
		return p, err
	}
}

// naiveCasts takes the path that records each ballot by itself.
func (b *bench) naiveCasts(ctx context.Context) (Phase, error) {
	p, err := b.cast(ctx, b.instance, load{mode: modeNaive, clients: b.Clients, serving: b.instance.apart.naivelyServing}, b.instance.apart.naive)
	b.naive += int64(p.Count)
	return p, err
}

// slowCasts measures casts while each commit takes longer.
func (b *bench) slowCasts(at *instance, mode string) func(context.Context) (Phase, error) {
	return func(ctx context.Context) (p Phase, err error) {
		if err := b.instance.apart.slow(slowBy); err != nil { // the server is the same for both
			return Phase{}, err
		}
		defer func() { err = errors.Join(err, b.instance.apart.slow(0)) }()
		return b.casts(ctx, at, mode, 0)
	}
}

// pgbench is the best of several numbers of connections.
func (b *bench) pgbench(ctx context.Context) (Phase, error) {
	best := Phase{Mode: modePgbench, Loop: closed}
	for _, clients := range pgbenchClients {
		before := b.instance.apart.postgres.cpu()
		rate, err := b.instance.pgbench(ctx, clients, b.Phase)
		if err != nil {
			return best, err
		}
		if rate > best.PerSecond {
			best.PerSecond, best.Count = rate, int(rate*b.Phase.Seconds())
			best.CPU = b.instance.apart.postgres.since(before, best.Count)
		}
	}
	return best, nil
}

func (b *bench) journeys(ctx context.Context, rate float64) (Phase, error) {
	l := load{
		mode: modeJourneys, rate: rate, count: unbounded, clients: b.Clients,
		serving: b.instance.serving, admins: b.instance.admins,
	}
	if rate > 0 {
		l.count = int64(rate * b.Phase.Seconds())
	}
	j := &journey{api: b.instance.api.address, phone: b.instance.phone, manifest: b.instance.manifest, first: b.voters}
	l.client = j.client
	p, err := b.measure(ctx, l)
	b.instance.acknowledged += int64(p.Count)
	b.voters += int64(p.Count) + failures(p) + int64(b.Clients)
	return p, err
}

func failures(p Phase) (n int64) {
	for _, f := range p.Failed {
		n += f
	}
	return n
}

// unbounded is more units than a phase can hold.
const unbounded = 1 << 40

// load is one phase as it is to be.
type load struct {
	mode    string
	rate    float64 // of an open loop; 0 is a closed one
	count   int64   // units at most
	clients int
	serving serving           // whose processor time is counted
	admins  map[string]string // where profiles are taken, by program
	client  worker
	// turnsAway says that a server may refuse some as too many.
	turnsAway bool
}

// measure runs one phase of load and reads the clocks around it.
func (b *bench) measure(ctx context.Context, l load) (Phase, error) {
	// The load's garbage is not the server's: collected before, and left to lie while it is measured.
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(2 << 30))
	p := Phase{Mode: l.mode, Loop: closed, Offered: l.rate}
	if l.rate > 0 {
		p.Loop = open
	}
	clients := connect(l.clients, l.client)
	profiled := b.profile(ctx, p, l.admins)
	serverBefore, loadBefore := l.serving.cpu(), cpuOf(os.Getpid())
	var s *sample
	if l.rate == 0 {
		s = closedLoop(ctx, clients, b.Phase, l.count)
		b.expect[l.mode] = s.rate()
	} else {
		s = openLoop(ctx, clients, l.rate, l.count)
	}
	p.PerSecond, p.Count = s.rate(), len(s.took)
	p.CPU, p.LoadCPU = l.serving.since(serverBefore, p.Count), perUnit(cpuOf(os.Getpid())-loadBefore, p.Count)
	p.P50, p.P99, p.P999 = s.took.percentile(0.5), s.took.percentile(0.99), s.took.percentile(0.999)
	delete(s.outcomes, ok)
	if l.turnsAway {
		p.TurnedAway, p.RefusedP99 = s.outcomes[refused], s.refused.percentile(0.99)
		delete(s.outcomes, refused)
	}
	if len(s.outcomes) > 0 {
		p.Failed = maps.Clone(s.outcomes)
	}
	b.report.Failed += failures(p)
	return p, errors.Join(<-profiled, ctx.Err())
}

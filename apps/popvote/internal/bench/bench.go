// Package bench measures an instance that it starts itself, in interleaved rounds with a bare Gin
// echo. On a shared machine absolute numbers swing with the neighbours; the ratio within a round, and
// the processor time per vote, swing much less.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/popvote/popvote/apps/popvote/internal/progress"
	"github.com/popvote/popvote/libs/service"
)

// Options are what to measure.
type Options struct {
	// Casts measures bare casts (tokens and sealed ballots prepared before), Journeys whole journeys.
	Casts, Journeys bool
	// Clients is how many voters are at it at once.
	Clients int
	// Phase is how long each measurement lasts.
	Phase  time.Duration
	Rounds int
	// Dir is where the instance's data directory is made; it should be on the disk to measure.
	Dir string
	// Profile is a directory for CPU profiles of the instance, one per mode and loop; empty takes none.
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

// Machine is where it was measured.
type Machine struct {
	Cores    int          `json:"cores"`
	Build    service.Info `json:"build"`
	Load     string       `json:"load_average"`
	DataDisk string       `json:"data_directory"`
}

// Phase is one measurement.
type Phase struct {
	// Mode is echo, casts or journeys; Loop closed or open.
	Mode string `json:"mode"`
	Loop string `json:"loop"`
	// PerSecond is completed units per second; Offered what an open loop asked for.
	PerSecond float64 `json:"per_second"`
	Offered   float64 `json:"offered_per_second,omitempty"`
	Count     int     `json:"count"`
	// Latencies, milliseconds; in an open loop from when the unit was due.
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
	// CPU is processor time per unit in microseconds: of the server's process, and of the load's.
	ServerCPU float64 `json:"server_cpu_us"`
	LoadCPU   float64 `json:"load_cpu_us"`
	// Failed counts what did not succeed, by reason.
	Failed map[string]int64 `json:"failed,omitempty"`
}

// Round is one turn of every measurement, close together in time.
type Round struct {
	Phases []Phase `json:"phases"`
	// CastsToEcho and JourneysToEcho are closed-loop rates over the echo's in this round.
	CastsToEcho    float64 `json:"casts_to_echo,omitempty"`
	JourneysToEcho float64 `json:"journeys_to_echo,omitempty"`
}

// Report is everything measured.
type Report struct {
	Machine Machine `json:"machine"`
	Clients int     `json:"clients"`
	Seconds float64 `json:"phase_seconds"`
	Rounds  []Round `json:"rounds"`
	// Acknowledged casts, and the ballots the box says it holds: the same, or something is wrong. -1
	// where the box cannot be asked.
	Acknowledged int64 `json:"acknowledged"`
	InTheBox     int64 `json:"in_the_box"`
	Failed       int64 `json:"failed"`
}

// OK is whether every unit succeeded and the box, where it can be asked, holds exactly what was
// acknowledged.
func (r *Report) OK() bool {
	return r.Failed == 0 && (r.Acknowledged == r.InTheBox || r.InTheBox < 0)
}

// bench is a benchmark under way.
type bench struct {
	Options
	bar      *progress.Bar
	instance *instance
	echo     *process
	echoAt   string
	report   *Report
	// voters counts those used, so that no phase meets another's.
	voters int64
	// expect is the last rate seen by mode, to prepare enough.
	expect map[string]float64
	// steps counts phases for the bar.
	step, steps int64
}

// Run measures. Bars go to stderr.
func Run(ctx context.Context, o Options, stderr io.Writer) (report *Report, err error) {
	b := &bench{Options: o, bar: progress.New(stderr, "measuring"), expect: map[string]float64{"casts": 6000}}
	if o.Profile != "" {
		if err := os.MkdirAll(o.Profile, 0o755); err != nil {
			return nil, fmt.Errorf("couldn't make the directory for profiles: %w", err)
		}
	}
	load, _ := os.ReadFile("/proc/loadavg") // elsewhere there is none
	b.report = &Report{
		Machine: Machine{Cores: runtime.NumCPU(), Build: service.Version(), Load: string(trimLine(load)), DataDisk: o.Dir},
		Clients: o.Clients, Seconds: o.Phase.Seconds(), Rounds: []Round{},
	}
	if b.echo, b.echoAt, err = spawnEcho(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.echo.stop()) }()
	if b.instance, err = b.open(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.instance.close()) }()

	b.steps = int64(b.Rounds) * b.perRound()
	if err := b.warmUp(ctx); err != nil {
		return nil, err
	}
	for i := range b.Rounds {
		round, err := b.round(ctx, i)
		if err != nil {
			return nil, err
		}
		b.report.Rounds = append(b.report.Rounds, *round)
	}
	if b.report.InTheBox, err = b.instance.inTheBox(ctx); err != nil {
		return nil, err
	}
	return b.report, b.bar.Close()
}

func (b *bench) open(ctx context.Context) (*instance, error) {
	if b.Target.API != "" {
		return joinInstance(ctx, b.Target)
	}
	return startInstance(ctx, b.Dir, b.Profile != "")
}

func (b *bench) perRound() int64 {
	n := int64(1)
	if b.Casts {
		n += 2
	}
	if b.Journeys {
		n += 2
	}
	return n
}

// warmUp fills caches and pools, and learns how much to prepare.
func (b *bench) warmUp(ctx context.Context) error {
	phase := b.Phase
	b.Phase = min(phase, 2*time.Second)
	defer func() { b.Phase = phase }()
	if b.Casts {
		if _, err := b.casts(ctx, 0); err != nil {
			return err
		}
	}
	if b.Journeys {
		if _, err := b.journeys(ctx, 0); err != nil {
			return err
		}
	}
	return nil
}

// round takes every measurement once, in an order that turns with the rounds.
func (b *bench) round(ctx context.Context, turn int) (*Round, error) {
	measurements := []func() ([]Phase, error){func() ([]Phase, error) { return b.echoes(ctx) }}
	if b.Casts {
		measurements = append(measurements, func() ([]Phase, error) { return b.both(ctx, b.casts) })
	}
	if b.Journeys {
		measurements = append(measurements, func() ([]Phase, error) { return b.both(ctx, b.journeys) })
	}
	round := &Round{}
	for i := range measurements {
		phases, err := measurements[(i+turn)%len(measurements)]()
		if err != nil {
			return nil, err
		}
		round.Phases = append(round.Phases, phases...)
		b.step += int64(len(phases))
		b.bar.At(b.step, b.steps)
	}
	echo := round.find("echo", "closed").PerSecond
	if echo > 0 {
		round.CastsToEcho = round.find("casts", "closed").PerSecond / echo
		round.JourneysToEcho = round.find("journeys", "closed").PerSecond / echo
	}
	return round, nil
}

func (r *Round) find(mode, loop string) Phase {
	i := slices.IndexFunc(r.Phases, func(p Phase) bool { return p.Mode == mode && p.Loop == loop })
	if i < 0 {
		return Phase{}
	}
	return r.Phases[i]
}

// both measures a mode in a closed loop, then in an open one at half the rate just seen.
func (b *bench) both(ctx context.Context, measure func(context.Context, float64) (Phase, error)) ([]Phase, error) {
	closed, err := measure(ctx, 0)
	if err != nil {
		return nil, err
	}
	open, err := measure(ctx, closed.PerSecond/2)
	return []Phase{closed, open}, err
}

func (b *bench) echoes(ctx context.Context) ([]Phase, error) {
	body := fmt.Appendf(nil, `{"sealed":"%0*d"}`, b.instance.sealedLength(), 0)
	request := post(b.echoAt, "/echo", "Authorization: Bearer "+fmt.Sprintf("%0600d", 0)+"\r\nIdempotency-Key: "+randomID()+"\r\n", body)
	p, err := b.measure(ctx, "echo", 0, 1<<40, b.echo, echoer(b.echoAt, request))
	return []Phase{p}, err
}

// casts measures bare casts: closed if rate is 0, else open at that rate.
func (b *bench) casts(ctx context.Context, rate float64) (Phase, error) {
	count := int64(rate * b.Phase.Seconds())
	if rate == 0 {
		count = int64(b.expect["casts"]*1.5*b.Phase.Seconds()) + int64(b.Clients)
	}
	requests, err := prepareCasts(ctx, b.instance.api, b.instance.manifest, b.instance.tokens, count, func(done int64) {
		b.bar.At(b.step*count+done, b.steps*count)
	})
	if err != nil {
		return Phase{}, err
	}
	return b.measure(ctx, "casts", rate, count, b.instance.process, caster(b.instance.api, requests))
}

func (b *bench) journeys(ctx context.Context, rate float64) (Phase, error) {
	count := int64(1 << 40)
	if rate > 0 {
		count = int64(rate * b.Phase.Seconds())
	}
	j := &journey{api: b.instance.api, phone: b.instance.phone, manifest: b.instance.manifest, first: b.voters}
	p, err := b.measure(ctx, "journeys", rate, count, b.instance.process, j.client)
	b.voters += int64(p.Count) + failures(p) + int64(b.Clients)
	return p, err
}

func failures(p Phase) (n int64) {
	for _, f := range p.Failed {
		n += f
	}
	return n
}

// measure runs one phase of load and reads the clocks around it.
func (b *bench) measure(ctx context.Context, mode string, rate float64, count int64, server *process, newClient worker) (Phase, error) {
	// The load's garbage is not the server's: collected before, and left to lie while it is measured.
	runtime.GC()
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(2 << 30))
	profiled := b.profile(ctx, mode, rate)
	serverBefore, loadBefore := server.cpu(), cpuOf(os.Getpid())
	p := Phase{Mode: mode, Loop: "closed", Offered: rate}
	var s *sample
	if rate == 0 {
		s = closedLoop(ctx, b.Clients, b.Phase, count, newClient)
		b.expect[mode] = s.rate()
	} else {
		p.Loop = "open"
		s = openLoop(ctx, b.Clients, rate, count, newClient)
	}
	p.PerSecond, p.Count = s.rate(), len(s.took)
	p.P50, p.P99, p.P999 = milliseconds(s.percentile(0.5)), milliseconds(s.percentile(0.99)), milliseconds(s.percentile(0.999))
	if p.Count > 0 {
		p.ServerCPU = float64((server.cpu() - serverBefore).Microseconds()) / float64(p.Count)
		p.LoadCPU = float64((cpuOf(os.Getpid()) - loadBefore).Microseconds()) / float64(p.Count)
	}
	delete(s.outcomes, ok)
	if len(s.outcomes) > 0 {
		p.Failed = s.outcomes
	}
	if mode != "echo" {
		b.report.Acknowledged += int64(p.Count)
	}
	b.report.Failed += failures(p)
	return p, errors.Join(<-profiled, ctx.Err())
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// profile takes a CPU profile of the instance while a loop runs; the channel gives how that went.
func (b *bench) profile(ctx context.Context, mode string, rate float64) <-chan error {
	done := make(chan error, 1)
	name := mode + "-closed.pprof"
	if rate > 0 {
		name = mode + "-open.pprof"
	}
	if b.Profile == "" || mode == "echo" || b.instance.admin == "" {
		done <- nil
		return done
	}
	go func() {
		url := fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", b.instance.admin, max(1, int(b.Phase.Seconds())))
		if err := download(ctx, url, filepath.Join(b.Profile, name)); err != nil {
			done <- fmt.Errorf("couldn't take a profile: %w", err)
			return
		}
		done <- nil
	}()
	return done
}

func download(ctx context.Context, url, path string) (err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, res.Body.Close()) }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the instance answered %s", res.Status)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = io.Copy(file, res.Body)
	return err
}

func trimLine(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] == '\n' {
		b = b[:len(b)-1]
	}
	return b
}

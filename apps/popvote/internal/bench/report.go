package bench

import (
	"math/rand/v2"
	"slices"

	"github.com/popvote/popvote/libs/service"
)

// The modes of a phase.
const (
	modeEcho     = "echo"
	modeCasts    = "casts"
	modeJourneys = "journeys"
	// modeEdge is casts through HAProxy, as in a cluster.
	modeEdge = "edge"
	// modeSlow is casts while every commit takes slowBy longer.
	modeSlow = "slow commit"
	// modeOverload is casts at overload times the rate that was just seen.
	modeOverload = "overload"
	// These two are the same at the edge.
	modeEdgeSlow     = "edge, slow commit"
	modeEdgeOverload = "edge, overload"
	// modeNaive is casts that are recorded by one GORM Create each.
	modeNaive = "one create each"
	// modePgbench is PostgreSQL's own benchmark, one durable row a transaction.
	modePgbench = "pgbench"
)

// The loops of a phase.
const (
	closed = "closed"
	open   = "open"
)

// Machine is where it was measured.
type Machine struct {
	Cores    int          `json:"cores"`
	Build    service.Info `json:"build"`
	Load     string       `json:"load_average"`
	DataDisk string       `json:"data_directory"`
}

// Phase is one measurement.
type Phase struct {
	// Mode is what was measured; Loop closed or open.
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
	// CPU is processor time per unit in microseconds, by the server's processes; LoadCPU the load's.
	CPU     map[string]float64 `json:"cpu_us"`
	LoadCPU float64            `json:"load_cpu_us"`
	// TurnedAway is how many an overloaded server refused at once, as it should, and RefusedP99 how long
	// that took from when they were sent, milliseconds.
	TurnedAway int64   `json:"turned_away,omitempty"`
	RefusedP99 float64 `json:"refused_p99_ms,omitempty"`
	// Failed counts what else did not succeed, by reason.
	Failed map[string]int64 `json:"failed,omitempty"`
}

// ServerCPU is the processor time per unit of all the server's processes, microseconds.
func (p *Phase) ServerCPU() (sum float64) {
	for _, us := range p.CPU {
		sum += us
	}
	return sum
}

// Round is one turn of every measurement, close together in time.
type Round struct {
	Phases []Phase `json:"phases"`
}

func (r *Round) find(mode, loop string) Phase {
	i := slices.IndexFunc(r.Phases, func(p Phase) bool { return p.Mode == mode && p.Loop == loop })
	if i < 0 {
		return Phase{}
	}
	return r.Phases[i]
}

// Report is everything measured.
type Report struct {
	Machine Machine `json:"machine"`
	Clients int     `json:"clients"`
	Seconds float64 `json:"phase_seconds"`
	Rounds  []Round `json:"rounds"`
	Ratios  []Ratio `json:"ratios"`
	Box
	// Edge is the box behind HAProxy; nil if there is none.
	Edge *Box `json:"edge,omitempty"`
	// Held is voters who wait; nil if none were asked for.
	Held   *Held `json:"held,omitempty"`
	Failed int64 `json:"failed"`
}

// Box is the acknowledged casts, and the ballots the box says it holds: the same, or something is wrong. -1
// where the box cannot be asked.
type Box struct {
	Acknowledged int64 `json:"acknowledged"`
	InTheBox     int64 `json:"in_the_box"`
}

func (b *Box) ok() bool { return b == nil || b.Acknowledged == b.InTheBox || b.InTheBox < 0 }

// OK is whether every unit succeeded, every voter who waited was told, and each box, where it can be asked, holds exactly what was
// acknowledged.
func (r *Report) OK() bool {
	return r.Failed == 0 && r.Box.ok() && r.Edge.ok() && (r.Held == nil || r.Held.Untold == 0 && r.Held.Lost == 0)
}

// Medians are the middle of each measurement's rounds, each column for itself, in the order of the first
// round.
func (r *Report) Medians() []Phase {
	var out []Phase
	if len(r.Rounds) == 0 {
		return out
	}
	for _, first := range r.Rounds[0].Phases {
		middle := func(of func(Phase) float64) float64 {
			var values []float64
			for _, round := range r.Rounds {
				values = append(values, of(round.find(first.Mode, first.Loop)))
			}
			return median(values)
		}
		cpu := map[string]float64{}
		for server := range first.CPU {
			cpu[server] = middle(func(p Phase) float64 { return p.CPU[server] })
		}
		out = append(out, Phase{
			Mode: first.Mode, Loop: first.Loop,
			PerSecond:  middle(func(p Phase) float64 { return p.PerSecond }),
			Offered:    middle(func(p Phase) float64 { return p.Offered }),
			P50:        middle(func(p Phase) float64 { return p.P50 }),
			P99:        middle(func(p Phase) float64 { return p.P99 }),
			P999:       middle(func(p Phase) float64 { return p.P999 }),
			CPU:        cpu,
			LoadCPU:    middle(func(p Phase) float64 { return p.LoadCPU }),
			TurnedAway: int64(middle(func(p Phase) float64 { return float64(p.TurnedAway) })),
			RefusedP99: middle(func(p Phase) float64 { return p.RefusedP99 }),
		})
	}
	return out
}

// Ratio is one rate over another of the same round, which a noisy machine moves less than either.
type Ratio struct {
	Of     string  `json:"of"`
	To     string  `json:"to"`
	Median float64 `json:"median"`
	// Low and High bound the middle 95 % of the medians of the rounds drawn anew (bootstrap).
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// compared are the ratios worth knowing.
var compared = []struct{ of, ofLoop, to string }{
	{modeCasts, closed, modeEcho},
	{modeJourneys, closed, modeEcho},
	{modeCasts, closed, modePgbench},
	{modeCasts, closed, modeNaive},
	{modeOverload, open, modeCasts},
	{modeSlow, closed, modeCasts},
	{modeEdge, closed, modeCasts},
	{modeEdgeOverload, open, modeEdge},
	{modeEdgeSlow, closed, modeEdge},
}

func (r *Report) ratios() []Ratio {
	var out []Ratio
	for _, c := range compared {
		var values []float64
		for _, round := range r.Rounds {
			if below := round.find(c.to, closed).PerSecond; below > 0 {
				if above := round.find(c.of, c.ofLoop).PerSecond; above > 0 {
					values = append(values, above/below)
				}
			}
		}
		if len(values) == 0 {
			continue
		}
		low, high := interval(values)
		out = append(out, Ratio{Of: c.of, To: c.to, Median: median(values), Low: low, High: high})
	}
	return out
}

// interval is the 95 % bootstrap interval of the median. Its chance is always the same, so that a report
// can be computed again.
func interval(values []float64) (low, high float64) {
	const draws = 2000
	chance := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // statistics
	medians := make([]float64, draws)
	drawn := make([]float64, len(values))
	for i := range medians {
		for j := range drawn {
			drawn[j] = values[chance.IntN(len(values))]
		}
		medians[i] = median(drawn)
	}
	slices.Sort(medians)
	return medians[draws*25/1000], medians[draws*975/1000-1]
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	values = slices.Sorted(slices.Values(values))
	if n := len(values); n%2 == 0 {
		return (values[n/2-1] + values[n/2]) / 2
	}
	return values[len(values)/2]
}

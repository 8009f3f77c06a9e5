package bench

import "slices"

// Median is the middle of a measurement's rounds, each column for itself.
type Median struct {
	Phase
	// OfEcho is the rate over the echo's of the same round; 0 for open loops.
	OfEcho float64 `json:"of_echo"`
}

// Medians are over all rounds, in the order of the first.
func (r *Report) Medians() []Median {
	var out []Median
	if len(r.Rounds) == 0 {
		return out
	}
	for _, first := range r.Rounds[0].Phases {
		var phases []Phase
		var ratios []float64
		for _, round := range r.Rounds {
			p := round.find(first.Mode, first.Loop)
			phases = append(phases, p)
			if echo := round.find("echo", "closed").PerSecond; echo > 0 && p.Loop == "closed" {
				ratios = append(ratios, p.PerSecond/echo)
			}
		}
		middle := func(of func(Phase) float64) float64 {
			values := make([]float64, len(phases))
			for i, p := range phases {
				values[i] = of(p)
			}
			return median(values)
		}
		out = append(out, Median{OfEcho: median(ratios), Phase: Phase{
			Mode: first.Mode, Loop: first.Loop,
			PerSecond: middle(func(p Phase) float64 { return p.PerSecond }),
			Offered:   middle(func(p Phase) float64 { return p.Offered }),
			P50:       middle(func(p Phase) float64 { return p.P50 }),
			P99:       middle(func(p Phase) float64 { return p.P99 }),
			P999:      middle(func(p Phase) float64 { return p.P999 }),
			ServerCPU: middle(func(p Phase) float64 { return p.ServerCPU }),
			LoadCPU:   middle(func(p Phase) float64 { return p.LoadCPU }),
		}})
	}
	return out
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	if n := len(values); n%2 == 0 {
		return (values[n/2-1] + values[n/2]) / 2
	}
	return values[len(values)/2]
}

package overhttp

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestTheHopIsCounted: what was sent, tried again, taken and refused, on both sides of the hop.
func TestTheHopIsCounted(t *testing.T) {
	w, box, served := newWorld(t), newMemory(), NewServed()
	up, down := w.serve(NewHandler(box, Production(), WithMetrics(served), WithBatches(1))), w.nowhere()
	now := time.Now() // what fails is left alone for good
	c := w.client("api-server", ClientConfig{Clock: func() time.Time { return now }}, up, down)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c.Metrics(), served)
	got := func(name string) (values map[string]float64) {
		t.Helper()
		families, err := registry.Gather()
		w.ok(err)
		values = map[string]float64{}
		for _, f := range families {
			if f.GetName() != "popvote_hop_"+name {
				continue
			}
			for _, m := range f.GetMetric() {
				label := ""
				for _, l := range m.GetLabel() {
					label += l.GetValue()
				}
				// Only one of them is set.
				values[label] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetHistogram().GetSampleSum()
			}
		}
		return values
	}
	// An outcome may be told a moment before it is counted.
	want := func(name, label string, n float64) {
		t.Helper()
		w.eventually(fmt.Sprintf("%s %q of %v", name, label, n), func() bool {
			v, there := got(name)[label]
			return there && v == n
		})
	}

	casts := 0.0
	for got("retries_total")["unsent"] == 0 { // chance decides who is asked
		w.expect(w.cast(c, vote(int(casts)))[0], "")
		if casts++; casts == 1000 {
			t.Fatal("nobody asks the one that is down")
		}
	}
	want("tries_total", "answered", casts)
	want("tries_total", "failed", 1)
	want("ejections_total", "", 1)
	want("ejected", down, 1)
	want("ejected", up, 0)
	want("batch_ballots", "", casts)
	want("queue_ballots", "", 0)
	want("served_batches_total", "200", casts)
	want("served_batch_ballots", "", casts)
	want("served_requests_total", "", casts)

	box.hold = make(chan struct{})
	held := make(chan struct{})
	go func() {
		defer close(held)
		w.cast(c, vote(2000))
	}()
	w.eventually("the held ballot", func() bool { return float64(box.seen()) == casts+1 })
	want("served_in_flight", "", 1)
	want("in_flight", up, 1)
	w.cast(c, vote(2001)) // refused: there is one place
	want("served_batches_total", "503", 1)
	close(box.hold)
	<-held
	want("served_in_flight", "", 0)

	problems, err := testutil.GatherAndLint(registry)
	w.ok(err)
	if len(problems) > 0 {
		t.Errorf("the names are not as Prometheus wants them: %v", problems)
	}
}

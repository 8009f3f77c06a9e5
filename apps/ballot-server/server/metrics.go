package server

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what the committer does. No label is about a voter, nor a poll: ids of polls that do
// not exist would be labels without end.
type metrics struct {
	registerer prometheus.Registerer
	outcomes   *prometheus.CounterVec
	sizes      prometheus.Histogram
	commits    prometheus.Histogram
	unknown    prometheus.Counter

	lastCommit atomic.Int64 // nanoseconds
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		registerer: r,
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "popvote_ballots_total",
			Help: "Ballots by outcome: recorded, or the code of the problem.",
		}, []string{"outcome"}),
		sizes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "popvote_batch_ballots",
			Help:    "Ballots per transaction.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "popvote_batch_seconds",
			Help:    "Time from the start of a transaction until its outcome was known.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		unknown: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "popvote_batches_unknown_total",
			Help: "Transactions whose outcome was unknown at first.",
		}),
	}
	for _, c := range []prometheus.Collector{m.outcomes, m.sizes, m.commits, m.unknown} {
		if err := m.register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) register(c prometheus.Collector) error {
	if m.registerer == nil {
		return nil
	}
	err := m.registerer.Register(c)
	if _, again := errors.AsType[prometheus.AlreadyRegisteredError](err); err != nil && !again {
		return fmt.Errorf("couldn't register metrics: %w", err)
	}
	return nil
}

// watch shows the length of the queue.
func (m *metrics) watch(c *committer) error {
	return m.register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "popvote_queue_ballots",
		Help: "Ballots that wait for the committer.",
	}, func() float64 { return float64(len(c.queue)) }))
}

func (m *metrics) outcome(code string) { m.outcomes.WithLabelValues(code).Inc() }

func (m *metrics) batch(ballots int, took time.Duration) {
	m.sizes.Observe(float64(ballots))
	m.commits.Observe(took.Seconds())
	m.lastCommit.Store(int64(took))
}

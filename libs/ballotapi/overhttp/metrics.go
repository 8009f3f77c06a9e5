package overhttp

import (
	"net/http"
	"strconv"

	"github.com/popvote/popvote/libs/discovery/balance"
	"github.com/prometheus/client_golang/prometheus"
)

// No label is about a voter or a poll.

// collectors are several as one.
type collectors []prometheus.Collector

func (c collectors) Describe(out chan<- *prometheus.Desc) {
	for _, one := range c {
		one.Describe(out)
	}
}

func (c collectors) Collect(out chan<- prometheus.Metric) {
	for _, one := range c {
		one.Collect(out)
	}
}

func opts(name, help string) prometheus.Opts {
	return prometheus.Opts{Namespace: "popvote", Subsystem: "hop", Name: name, Help: help}
}

func histogram(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "popvote", Subsystem: "hop", Name: name, Help: help, Buckets: buckets})
}

var (
	ballotBuckets = prometheus.ExponentialBuckets(1, 2, 11)      // to 1,024, the most there are
	secondBuckets = prometheus.ExponentialBuckets(0.0005, 2, 15) // to 8 s, the deadline
)

// sent is what a client counts.
type sent struct {
	tries   *prometheus.CounterVec
	ballots prometheus.Histogram
	seconds prometheus.Histogram
	retries *prometheus.CounterVec
}

func newSent() sent {
	return sent{
		tries:   prometheus.NewCounterVec(prometheus.CounterOpts(opts("tries_total", "Batches sent, each try by itself: answered, or failed.")), []string{"result"}),
		ballots: histogram("batch_ballots", "Ballots per batch sent, at its first try.", ballotBuckets),
		seconds: histogram("try_seconds", "Time from sending a batch to its last outcome, or to its failure.", secondBuckets),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts(opts("retries_total", "Batches tried again: after one that was certainly not seen (unsent), or may have been (unanswered).")), []string{"after"}),
	}
}

func (s *sent) tried(err error, seconds float64) {
	result := "answered"
	if err != nil {
		result = "failed"
	}
	s.tries.WithLabelValues(result).Inc()
	s.seconds.Observe(seconds)
}

func (s *sent) retried(maybeSeen bool) {
	after := "unsent"
	if maybeSeen {
		after = "unanswered"
	}
	s.retries.WithLabelValues(after).Inc()
}

// Metrics are the client's, for a registry: names begin with popvote_hop.
func (c *Client) Metrics() prometheus.Collector {
	return collectors{
		c.sent.tries, c.sent.ballots, c.sent.seconds, c.sent.retries,
		instances{c.balancer},
		prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts("queue_ballots", "Ballots that wait to be sent.")), func() float64 { return float64(len(c.queue)) }),
	}
}

// instances is what the balancer knows, as it is when somebody asks. There are never many more labels than
// instances that can be found.
type instances struct{ b *balance.Balancer }

var (
	inFlightDesc  = prometheus.NewDesc("popvote_hop_in_flight", "Requests under way to an instance, reads among them.", []string{"instance"}, nil)
	ejectedDesc   = prometheus.NewDesc("popvote_hop_ejected", "1 while an instance that failed is left alone.", []string{"instance"}, nil)
	ejectionsDesc = prometheus.NewDesc("popvote_hop_ejections_total", "Times that an instance failed and was left alone for a while.", nil, nil)
)

func (i instances) Describe(out chan<- *prometheus.Desc) {
	out <- inFlightDesc
	out <- ejectedDesc
	out <- ejectionsDesc
}

func (i instances) Collect(out chan<- prometheus.Metric) {
	all, failures := i.b.States()
	for _, in := range all {
		ejected := 0.0
		if in.Rests {
			ejected = 1
		}
		out <- prometheus.MustNewConstMetric(inFlightDesc, prometheus.GaugeValue, float64(in.Busy), in.Address)
		out <- prometheus.MustNewConstMetric(ejectedDesc, prometheus.GaugeValue, ejected, in.Address)
	}
	out <- prometheus.MustNewConstMetric(ejectionsDesc, prometheus.CounterValue, float64(failures))
}

// Served is what a handler counts, for a registry; see WithMetrics.
type Served struct {
	collectors
	requests prometheus.Counter
	batches  *prometheus.CounterVec
	ballots  prometheus.Histogram
	seconds  prometheus.Histogram
	now      prometheus.Gauge
}

// NewServed makes the counters of one handler: names begin with popvote_hop_served.
func NewServed() *Served {
	s := &Served{
		requests: prometheus.NewCounter(prometheus.CounterOpts(opts("served_requests_total", "Requests of every kind: batches, what is read, and what operators do."))),
		batches:  prometheus.NewCounterVec(prometheus.CounterOpts(opts("served_batches_total", "Batches answered, by HTTP status; 503 are those beyond the places there are.")), []string{"status"}),
		ballots:  histogram("served_batch_ballots", "Ballots per batch taken.", ballotBuckets),
		seconds:  histogram("served_batch_seconds", "Time from a batch's arrival to its last outcome.", secondBuckets),
		now:      prometheus.NewGauge(prometheus.GaugeOpts(opts("served_in_flight", "Batches under way."))),
	}
	s.collectors = collectors{s.requests, s.batches, s.ballots, s.seconds, s.now}
	return s
}

// WithMetrics has a handler count.
func WithMetrics(s *Served) Option { return func(h *handler) { h.served = s } }

// all counts every request.
func (s *Served) all(next http.Handler) http.Handler {
	if s == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Inc()
		next.ServeHTTP(w, r)
	})
}

// around counts what a handler of batches does. Like all of it, it does nothing without metrics.
func (s *Served) around(next http.HandlerFunc) http.HandlerFunc {
	if s == nil {
		return next
	}
	return func(w http.ResponseWriter, r *http.Request) {
		s.now.Inc()
		timer := prometheus.NewTimer(s.seconds)
		answer := &answered{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			s.now.Dec()
			timer.ObserveDuration()
			s.batches.WithLabelValues(strconv.Itoa(answer.status)).Inc()
		}()
		next(answer, r)
	}
}

func (s *Served) took(ballots int) {
	if s != nil {
		s.ballots.Observe(float64(ballots))
	}
}

// answered notes an answer's status.
type answered struct {
	http.ResponseWriter
	status int
}

func (a *answered) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController flush.
func (a *answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }

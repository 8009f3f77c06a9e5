package server

import (
	"fmt"
	"strconv"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/apps/api-server/plain"
)

// metrics count; no label ever says who.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	problems *prometheus.CounterVec
	sessions *prometheus.CounterVec
	// verified over sessions is the conversion: the first thing to fall when SMS do not arrive.
	verified    *prometheus.CounterVec
	codes       *prometheus.CounterVec
	casts       *prometheus.CounterVec
	challenges  *prometheus.CounterVec
	hurried     prometheus.Counter
	sealed      *prometheus.CounterVec
	limited     *prometheus.CounterVec
	violations  *prometheus.CounterVec
	limiterDown prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer, waiters func() float64) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "popvote", Subsystem: "api", Name: name, Help: help}, labels)
	}
	m := &metrics{
		requests: counter("requests_total", "Requests answered, by route and status.", "route", "status"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "popvote", Subsystem: "api", Name: "request_seconds",
			Help:    "Time to answer, by route; held connections are left out.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"route"}),
		problems:   counter("problems_total", "Problems answered, by code.", "code"),
		sessions:   counter("sessions_total", "Sessions started, by poll and mode of verification.", "poll", "mode"),
		verified:   counter("verifications_total", "Phones proved, by poll and mode; over sessions_total it is the conversion.", "poll", "mode"),
		codes:      counter("code_checks_total", "Six-digit codes tried, by result.", "result"),
		casts:      counter("casts_total", "Ballots cast, by poll and outcome: recorded, or a problem's code.", "poll", "outcome"),
		challenges: counter("challenges_total", "Challenges set, by what their usual work was multiplied by.", "times"),
		hurried: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "popvote", Subsystem: "api", Name: "hurried_total",
			Help: "Ballots cast sooner after their session's start than any person casts one; they count, and make their network's challenges dearer.",
		}),
		sealed:  counter("sealed_total", "Ballots sealed here for voters without scripts, by poll; again whenever a voter changed one.", "poll"),
		limited: counter("limited_total", "Actions refused, by limit.", "limit"),
		violations: counter("csp_violations_total", "What browsers say that the pages' policy forbade, by directive and kind. Anybody can invent these.",
			"directive", "blocked"),
		limiterDown: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "popvote", Subsystem: "api", Name: "limiter_errors_total",
			Help: "Times the limiter could not say; only the sending of SMS is refused then.",
		}),
	}
	for _, c := range []prometheus.Collector{
		m.requests, m.seconds, m.problems, m.sessions, m.verified, m.codes, m.casts, m.challenges, m.hurried, m.sealed, m.limited, m.violations, m.limiterDown,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "popvote", Subsystem: "api", Name: "waiters", Help: "Connections held for voters who wait for their phone.",
		}, waiters),
	} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("couldn't register the metrics: %w", err)
		}
	}
	return m, nil
}

// observe counts every request under the router's pattern, never under the path itself.
func (s *Server) observe(c *gin.Context) {
	start := s.clock()
	route := c.FullPath()
	if route == "" {
		route = "none"
	}
	defer func() {
		s.metrics.requests.WithLabelValues(route, statusText(c.Writer.Status())).Inc()
		if route != waitRoute && route != plain.WaitRoute {
			s.metrics.seconds.WithLabelValues(route).Observe(max(0, s.clock().Sub(start)).Seconds())
		}
	}()
	c.Next()
}

const waitRoute = "/v1/verification"

func statusText(status int) string {
	switch status { // the common ones, without an allocation
	case 200:
		return "200"
	case 201:
		return "201"
	}
	return strconv.Itoa(status)
}

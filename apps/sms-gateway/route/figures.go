package route

import (
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// figures are what a router shows of itself.
type figures struct {
	router   *Router
	sent     *prometheus.CounterVec
	calls    *prometheus.CounterVec
	asked    *prometheus.GaugeVec
	took     *prometheus.HistogramVec
	spent    *prometheus.CounterVec
	refused  *prometheus.CounterVec
	receipts *prometheus.CounterVec
	turned   map[string]*atomic.Int64 // what refused counts, for reports
}

var (
	conversionMetric = prometheus.NewDesc("popvote_sms_route_conversion",
		"Share of the codes of the last half-hour that were used, of those whose voters have had the time; 1 of none.", []string{"route"}, nil)
	breakerMetric = prometheus.NewDesc("popvote_sms_route_state",
		"0 works, 1 is being tried, 2 is left alone (faults: errors and latency) or comes last (conversion: its codes are not used).", []string{"route", "by"}, nil)
	inWindowMetric = prometheus.NewDesc("popvote_sms_spent",
		"What this gateway has spent in the last hour or day, to a country's prefix or to all.", []string{"to", "in", "currency"}, nil)
	capMetric = prometheus.NewDesc("popvote_sms_cap",
		"This gateway's part of what may be spent in an hour or a day.", []string{"to", "in", "currency"}, nil)
)

func newFigures(r *Router) *figures {
	f := &figures{
		router: r, turned: map[string]*atomic.Int64{},
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "popvote_sms_sent_total",
			Help: "Messages handed to a route, by what became of them: sent, permanent (the number), blocked (as fraud), throttled, unavailable, unknown (it may have gone out).",
		}, []string{"route", "outcome"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "popvote_sms_calls_total",
			Help: "How many of the messages handed to a route it was to speak in a call.",
		}, []string{"route"}),
		asked: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "popvote_sms_sending",
			Help: "Messages that a route has been given and has not answered yet.",
		}, []string{"route"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "popvote_sms_send_seconds",
			Help:    "How long a route took to answer.",
			Buckets: []float64{.01, .05, .1, .25, .5, 1, 2, 3, 4, 7},
		}, []string{"route"}),
		spent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "popvote_sms_spent_total",
			Help: "Money spent on messages that a route took, or may have taken, in the table's currency.",
		}, []string{"route"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "popvote_sms_refused_total",
			Help: "Messages that no route was asked to send, or no other: spent (a cap; raise an alarm), unused (a block of numbers where codes are not used), country (no SMS go there), no_route (all rest).",
		}, []string{"reason"}),
		receipts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "popvote_sms_receipts_total",
			Help: "What providers said became of messages, each said once.",
		}, []string{"route", "state"}),
	}
	for _, row := range reasons {
		f.turned[row.name] = new(atomic.Int64)
	}
	return f
}

// begin makes all series there can be: alarms need the zero.
func (f *figures) begin() {
	for _, row := range reasons {
		f.refused.WithLabelValues(row.name)
	}
	for _, one := range f.router.routes {
		f.spent.WithLabelValues(one.name)
		f.calls.WithLabelValues(one.name)
		f.asked.WithLabelValues(one.name)
		for _, o := range outcomes {
			f.sent.WithLabelValues(one.name, string(o))
		}
	}
}

// reasons are why a message is refused.
var reasons = []struct {
	err  error
	name string
}{{ErrSpent, "spent"}, {ErrUnused, "unused"}, {ErrNotServed, "country"}, {ErrNoRoute, "no_route"}}

func (f *figures) refuse(err error) {
	for _, row := range reasons {
		if errors.Is(err, row.err) {
			f.refused.WithLabelValues(row.name).Inc()
			f.turned[row.name].Add(1)
		}
	}
}

// Describe implements prometheus.Collector.
func (f *figures) Describe(out chan<- *prometheus.Desc) {
	for _, one := range f.counted() {
		one.Describe(out)
	}
	for _, one := range []*prometheus.Desc{conversionMetric, breakerMetric, inWindowMetric, capMetric} {
		out <- one
	}
}

// Collect implements prometheus.Collector.
func (f *figures) Collect(out chan<- prometheus.Metric) {
	for _, one := range f.counted() {
		one.Collect(out)
	}
	for _, one := range f.gauges() {
		out <- one
	}
}

func (f *figures) counted() []prometheus.Collector {
	return []prometheus.Collector{f.sent, f.calls, f.asked, f.took, f.spent, f.refused, f.receipts}
}

func (f *figures) gauges() (all []prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		all = append(all, prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...))
	}
	r := f.router
	now := r.clock()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.routes {
		share, _ := one.conv.share(now)
		gauge(conversionMetric, share, one.name)
		gauge(breakerMetric, float64(one.faults.state(now)), one.name, "faults")
		gauge(breakerMetric, float64(one.conv.state(now)), one.name, "conversion")
	}
	money := func(to string, a *account) {
		gauge(inWindowMetric, a.hour.sum(now, now).Units(), to, "hour", r.table.Currency)
		gauge(inWindowMetric, a.day.sum(now, now).Units(), to, "day", r.table.Currency)
		gauge(capMetric, a.caps.Hour.Units(), to, "hour", r.table.Currency)
		gauge(capMetric, a.caps.Day.Units(), to, "day", r.table.Currency)
	}
	money("all", r.total)
	for i, one := range r.countries {
		money(r.table.Countries[i].Prefix, one)
	}
	return all
}

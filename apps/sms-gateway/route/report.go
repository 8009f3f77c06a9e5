package route

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/libs/sms"
)

// Report is what the figures say, for operators. It asks nobody, and changes nothing that messages go by.
func (r *Router) Report(ctx context.Context) sms.Report {
	report := sms.Report{Since: r.since, Currency: r.table.Currency, Refused: map[string]int64{}}
	for _, row := range reasons {
		report.Refused[row.name] = counted(r.figures.refused.WithLabelValues(row.name))
	}
	for _, one := range r.routes {
		report.Routes = append(report.Routes, r.figures.of(one))
	}
	for i, one := range r.routes {
		// It may hold a lock of its own: not while ours is held.
		checker, ok := one.provider.(provider.Checker)
		report.Routes[i].Away = ok && checker.Check(ctx) != nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock()
	report.At = now
	for i, one := range r.routes {
		row := &report.Routes[i]
		share, settled := one.conv.share(now)
		row.Used, row.Settled = share, int64(settled)
		row.Faults, row.Conversion = breakers[one.faults.state(now)], breakers[one.conv.state(now)]
		if until := one.faults.rests(); until.After(now) {
			row.RestsUntil = until
		}
		row.SpentHour, row.SpentDay = one.spent.hour.sum(now, now).Units(), one.spent.day.sum(now, now).Units()
		if one.trouble != nil {
			last := *one.trouble
			row.Trouble = &last
		}
	}
	spending := func(to string, a *account) {
		report.Spending = append(report.Spending, sms.Spending{
			To: to, Hour: a.hour.sum(now, now).Units(), HourCap: a.caps.Hour.Units(), Day: a.day.sum(now, now).Units(), DayCap: a.caps.Day.Units(),
		})
	}
	spending("all", r.total)
	for i, one := range r.countries {
		spending(r.table.Countries[i].Prefix, one)
	}
	return report
}

// breakers are the states of breakers in a report.
var breakers = map[int]sms.Breaker{closed: sms.BreakerClosed, halfOpen: sms.BreakerHalfOpen, open: sms.BreakerOpen}

// of is what was counted of a route.
func (f *figures) of(one *leader) sms.RouteReport {
	row := sms.RouteReport{Name: one.name, Kind: one.kind, Calls: counted(f.calls.WithLabelValues(one.name))}
	for _, o := range outcomes {
		n := counted(f.sent.WithLabelValues(one.name, string(o)))
		switch o {
		case sent:
			row.Sent += n
		case unknown:
			row.Unknown += n
		default:
			row.Failed += n
		}
	}
	for state := range states {
		n := counted(f.receipts.WithLabelValues(one.name, string(state)))
		switch state {
		case provider.Delivered:
			row.Delivered += n
		case provider.Undelivered, provider.Expired, provider.Rejected:
			row.Undelivered += n
		case provider.Accepted, provider.Unknown:
		}
	}
	return row
}

// counted is what a counter has come to.
func counted(c prometheus.Counter) int64 {
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		return 0 // it has no way to fail
	}
	return int64(m.GetCounter().GetValue())
}

// troubleOf is how a report names what a message met; empty where all is well, or the number is at fault, or whoever
// asked gave up.
func troubleOf(o outcome, v verdict) string {
	switch {
	case o == blocked, o == throttled:
		return string(o)
	case v != faulty:
		return ""
	case o == unavailable, o == unknown:
		return string(o)
	}
	return "slow"
}

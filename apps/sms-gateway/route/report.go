package route

import (
	"context"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/libs/identity"
	"github.com/popvote/popvote/libs/sms"
)

// Report is what was counted, for operators. It asks nobody, and changes nothing that messages go by. Of where they
// went it says the country, however much finer the table is.
func (r *Router) Report(ctx context.Context) sms.Report {
	away := make([]bool, len(r.routes))
	for i, one := range r.routes {
		// It may hold a lock of its own: not while ours is held.
		checker, ok := one.provider.(provider.Checker)
		away[i] = ok && checker.Check(ctx) != nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.clock()
	report := sms.Report{At: now, Since: r.since, Currency: r.table.Currency, Refused: map[string]int64{}}
	for _, row := range reasons {
		report.Refused[row.name] = r.figures.turned[row.name].Load()
	}
	for i, one := range r.routes {
		row := sms.RouteReport{
			Name: one.name, Kind: one.kind, Away: away[i],
			Faults: breakers[one.faults.state(now)], Conversion: breakers[one.conv.state(now)],
		}
		r.count(now, &row, one)
		if until := one.faults.rests(); until.After(now) {
			row.RestsUntil = until
		}
		if one.trouble != nil {
			last := *one.trouble
			row.Trouble = &last
		}
		report.Routes = append(report.Routes, row)
	}
	spending := func(to string, a *account) {
		report.Spending = append(report.Spending, sms.Spending{
			To: to, Hour: a.hour.sum(now, now).Units(), HourCap: a.caps.Hour.Units(), Day: a.day.sum(now, now).Units(), DayCap: a.caps.Day.Units(),
		})
	}
	spending("all", r.total)
	for i, one := range r.countries {
		spending(identity.CallingCode(r.table.Countries[i].Prefix), one)
	}
	return report
}

// count fills in what was counted of a route, in all and by country.
func (r *Router) count(now time.Time, row *sms.RouteReport, one *leader) {
	var all []*tally
	var names []string
	by := map[string][]*tally{}
	for i, country := range r.table.Countries {
		for j, l := range country.Legs {
			if l.Route != one.name {
				continue
			}
			name := identity.CallingCode(country.Prefix)
			if by[name] == nil {
				names = append(names, name)
			}
			all, by[name] = append(all, r.tallies[i][j]), append(by[name], r.tallies[i][j])
		}
	}
	row.Counts = counts(now, all...)
	row.Delivered, row.Undelivered = row.Delivered+one.stray.delivered, row.Undelivered+one.stray.undelivered
	// What its breaker goes by.
	share, settled := one.conv.share(now)
	row.Used, row.Settled = share, int64(settled)
	for _, name := range names {
		row.Countries = append(row.Countries, sms.CountryReport{To: name, Counts: counts(now, by[name]...)})
	}
}

// breakers are the states of breakers in a report.
var breakers = map[int]sms.Breaker{closed: sms.BreakerClosed, halfOpen: sms.BreakerHalfOpen, open: sms.BreakerOpen}

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

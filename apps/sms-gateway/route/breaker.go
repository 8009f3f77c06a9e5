package route

import (
	"math"
	"time"
)

// The breakers are of this package's own making. The well-kept ones (sony/gobreaker, failsafe-go) count what
// the call itself returned; whether a code was used is known minutes after the call, if ever, and has to be
// credited to the time of its sending. And a route whose codes are not used must only come last, for whoever
// asks for codes and uses none could else take away every route there is.

// Breaker states, as figures show them.
const (
	closed   = 0
	halfOpen = 1
	open     = 2
)

const (
	// faultsInRow open a route at once; of faultSample within a minute, half do.
	faultsInRow = 5
	faultSample = 10
	// restFirst is how long a route with faults is left alone, twice as long each time in a row up to restMost.
	restFirst = 5 * time.Second
	restMost  = time.Minute
	// throttledFor is how long a route rests that is asked too often and doesn't say for how long.
	throttledFor = 5 * time.Second
	throttleMost = 5 * time.Minute
)

// faults is a route's breaker on errors and latency. A route that rests is not asked at all; then one message
// tries it, and the others keep away until that has come back.
type faults struct {
	good, bad ring[int32]
	row       int
	opened    bool
	until     time.Time
	rest      time.Duration
	probing   bool
	throttled time.Time
}

func newFaults() faults {
	return faults{good: newRing[int32](5*time.Second, 13), bad: newRing[int32](5*time.Second, 13)}
}

func (f *faults) state(now time.Time) int {
	switch {
	case !f.opened:
		return closed
	case now.Before(f.until):
		return open
	default:
		return halfOpen
	}
}

// admits says whether the route may be asked.
func (f *faults) admits(now time.Time) bool {
	return !now.Before(f.throttled) && (!f.opened || !now.Before(f.until) && !f.probing)
}

// rests is until when the route is not asked; a time that is past, or zero, if it is.
func (f *faults) rests() time.Time {
	if f.opened && f.until.After(f.throttled) {
		return f.until
	}
	return f.throttled
}

// begin is a message on its way; end must follow.
func (f *faults) begin() (probe bool) {
	probe = f.opened
	f.probing = f.probing || probe
	return probe
}

// verdict is what a message tells of its route's health.
type verdict int

const (
	nothing verdict = iota
	well
	faulty
)

func (f *faults) end(now time.Time, probe bool, v verdict) {
	if probe {
		f.probing = false
	}
	switch v {
	case well:
		f.row = 0
		f.good.add(now, now, 1)
		if probe {
			f.opened, f.rest = false, 0
		}
	case faulty:
		f.row++
		f.bad.add(now, now, 1)
		bad := f.bad.sum(now, now)
		all := bad + f.good.sum(now, now)
		if probe || !f.opened && (f.row >= faultsInRow || all >= faultSample && 2*bad >= all) {
			f.trip(now)
		}
	case nothing:
	}
}

func (f *faults) trip(now time.Time) {
	f.rest = min(restMost, max(restFirst, 2*f.rest))
	f.opened, f.until, f.row = true, now.Add(f.rest), 0
	f.good.clear()
	f.bad.clear()
}

// throttle keeps everybody away for as long as the provider wants.
func (f *faults) throttle(now time.Time, wait time.Duration) {
	if wait <= 0 {
		wait = throttledFor
	}
	f.throttled = now.Add(min(wait, throttleMost))
}

// Conversion are the rules of a breaker on how many of the codes that were sent are used. Zero means the
// default.
type Conversion struct {
	// Least is the share of codes, between 0 and 1, that must be used. Default: 0.2 for a route, 0.05 for a block.
	Least float64 `yaml:"least"`
	// Sample is how many codes there must be in the last half-hour before they are judged. Default: 50, and
	// that is the least there may be.
	Sample int `yaml:"sample"`
	// Settle is how long a voter has to use a code before it counts as not used. Default: 2m.
	Settle time.Duration `yaml:"settle"`
	// Rest is how long nothing more is tried, twice as long each time in a row, up to 8 times. Default: 10m.
	Rest time.Duration `yaml:"rest"`
}

func (c Conversion) withDefaults(least float64) Conversion {
	if c.Least == 0 {
		c.Least = least
	}
	if c.Sample == 0 {
		c.Sample = minSample
	}
	if c.Settle == 0 {
		c.Settle = 2 * time.Minute
	}
	if c.Rest == 0 {
		c.Rest = 10 * time.Minute
	}
	return c
}

// minSample is how many codes say something.
const minSample = 50

// trial is how many codes are sent to see whether they are used again.
const trial = 10

// conversion is a breaker on the share of codes that are used.
type conversion struct {
	rules      Conversion
	sent, used ring[int32]
	opened     bool
	until      time.Time
	rest       time.Duration
	// cleared is when what was counted was forgotten: codes sent before that count no more.
	cleared time.Time
	// began is when the trial may, latest when its last code was sent, and tried how many it has.
	began, latest       time.Time
	tried, triedAndUsed int
}

func newConversion(rules Conversion) conversion {
	return conversion{rules: rules, sent: newRing[int32](time.Minute, 31), used: newRing[int32](time.Minute, 31)}
}

// share is how many of the codes that have settled were used, and of how many; 1 of none.
func (c *conversion) share(now time.Time) (share float64, sent int32) {
	settled := now.Add(-c.rules.Settle - c.sent.span) // spans that have settled to their end
	if sent = c.sent.sum(now, settled); sent <= 0 {
		return 1, 0
	}
	return float64(c.used.sum(now, settled)) / float64(sent), sent
}

func (c *conversion) state(now time.Time) int {
	switch {
	case !c.opened:
		return closed
	case now.Before(c.until):
		return open
	default:
		return halfOpen
	}
}

// admits says whether another code is worth sending, and opens the breaker or begins another rest where that
// is due.
func (c *conversion) admits(now time.Time) bool {
	if !c.opened {
		share, sent := c.share(now)
		if int(sent) < c.rules.Sample || share >= c.rules.Least {
			return true
		}
		c.trip(now)
	}
	switch {
	case now.Before(c.until):
		return false
	case c.tried < trial:
		return true
	case now.Sub(c.latest) > c.rules.Settle:
		c.trip(now)
	}
	return false
}

func (c *conversion) trip(now time.Time) {
	c.rest = min(8*c.rules.Rest, max(c.rules.Rest, 2*c.rest))
	c.opened, c.until = true, now.Add(c.rest)
	c.tried, c.triedAndUsed = 0, 0
	c.began, c.cleared = c.until, now
	c.sent.clear()
	c.used.clear()
}

// send counts a code, or with n below 0 one that was sent at a time and is not to count.
func (c *conversion) send(now, at time.Time, n int32) {
	if at.Before(c.cleared) {
		return
	}
	c.sent.add(now, at, n)
	if c.trying(at) {
		c.tried += int(n)
		c.latest = at
	}
}

// use counts that the code sent at a time was used.
func (c *conversion) use(now, at time.Time) {
	if at.Before(c.cleared) {
		return
	}
	c.used.add(now, at, 1)
	if !c.trying(at) {
		return
	}
	c.triedAndUsed++
	if c.triedAndUsed >= max(1, int(math.Ceil(c.rules.Least*trial))) {
		c.opened, c.rest = false, 0
	}
}

// trying says whether a code sent at a time is of the trial.
func (c *conversion) trying(at time.Time) bool { return c.opened && !at.Before(c.began) }

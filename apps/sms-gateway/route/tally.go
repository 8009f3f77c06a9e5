package route

import (
	"slices"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/libs/sms"
)

// delayBounds are the times, in seconds, that delays of receipts are told apart by.
var delayBounds = []float64{1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 90, 120, 180, 300, 600}

// tally is what was counted of one route to one row of countries, for reports: nothing is decided by it. The
// router's lock guards it.
type tally struct {
	told
	sent, failed, unknown, calls int64
	conv                         conversion    // never asked whether it admits anything
	spent                        *account      // without caps of its own
	delays                       []ring[int32] // as many as bounds, and one for what took longer
}

func newTally(rules Conversion) *tally {
	t := &tally{conv: newConversion(rules), spent: newAccount(Caps{})}
	for range len(delayBounds) + 1 {
		t.delays = append(t.delays, newRing[int32](time.Minute, 31))
	}
	return t
}

// end counts what became of a message.
func (t *tally) end(o outcome, call bool) {
	switch o {
	case sent:
		t.sent++
	case unknown:
		t.unknown++
	case permanent, blocked, throttled, unavailable:
		t.failed++
	}
	if call {
		t.calls++
	}
}

// delay counts how long a receipt of delivery took.
func (t *tally) delay(now time.Time, took time.Duration) {
	i, _ := slices.BinarySearch(delayBounds, took.Seconds())
	t.delays[i].add(now, now, 1)
}

// counts is what a report says of several tallies together.
func counts(now time.Time, tallies ...*tally) (c sms.Counts) {
	delays := make([]int64, len(delayBounds)+1)
	var used float64
	for _, t := range tallies {
		c.Sent, c.Failed, c.Unknown, c.Calls = c.Sent+t.sent, c.Failed+t.failed, c.Unknown+t.unknown, c.Calls+t.calls
		c.Delivered, c.Undelivered = c.Delivered+t.delivered, c.Undelivered+t.undelivered
		c.SpentHour, c.SpentDay = c.SpentHour+t.spent.hour.sum(now, now).Units(), c.SpentDay+t.spent.day.sum(now, now).Units()
		share, settled := t.conv.share(now)
		c.Settled += int64(settled)
		used += share * float64(settled)
		for i := range t.delays {
			delays[i] += int64(t.delays[i].sum(now, now))
		}
	}
	c.Used = 1
	if c.Settled > 0 {
		c.Used = used / float64(c.Settled)
	}
	for i, n := range delays {
		switch {
		case n == 0:
		case i < len(delayBounds):
			c.Delays = append(c.Delays, sms.Delay{Within: delayBounds[i], Count: n})
		default:
			c.Delays = append(c.Delays, sms.Delay{Count: n})
		}
	}
	return c
}

// told is what receipts said in the end.
type told struct{ delivered, undelivered int64 }

func (t *told) add(state provider.State, n int64) {
	switch state {
	case provider.Delivered:
		t.delivered += n
	case provider.Undelivered, provider.Expired, provider.Rejected:
		t.undelivered += n
	case provider.Accepted, provider.Unknown:
	}
}

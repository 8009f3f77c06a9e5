package route

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Money is an amount in millionths of the table's currency, so that sums are exact.
type Money int64

const (
	unit = 1_000_000
	// maxUnits is more than anybody pays for SMS, and far from where sums overflow.
	maxUnits = 1_000_000_000
)

// ParseMoney reads "0.0575": units and up to six decimals, never below 0.
func ParseMoney(text string) (Money, error) {
	whole, part, _ := strings.Cut(text, ".")
	units, err := strconv.ParseUint(whole, 10, 63)
	if err != nil || units > maxUnits || len(part) > 6 || strings.HasSuffix(text, ".") {
		return 0, fmt.Errorf("%q is no amount such as 0.0575", text)
	}
	millionths := uint64(0)
	if part != "" {
		millionths, err = strconv.ParseUint((part + "000000")[:6], 10, 63)
		if err != nil {
			return 0, fmt.Errorf("%q is no amount such as 0.0575", text)
		}
	}
	return Money(units*unit + millionths), nil //nolint:gosec // at most maxUnits
}

// UnmarshalYAML reads an amount as it is written, not as the nearest floating-point number.
func (m *Money) UnmarshalYAML(text []byte) (err error) {
	*m, err = ParseMoney(strings.Trim(strings.TrimSpace(string(text)), `"'`))
	return err
}

// Units are the amount as figures show it.
func (m Money) Units() float64 { return float64(m) / unit }

func (m Money) String() string { return strconv.FormatFloat(m.Units(), 'f', -1, 64) }

// ring sums amounts over a sliding window: as many spans as it has places, the last of them under way. So it
// holds at least everything of the places-1 spans before now.
type ring[T int32 | Money] struct {
	span time.Duration
	sums []T
	last int64 // number of the newest span
}

func newRing[T int32 | Money](span time.Duration, places int) ring[T] {
	return ring[T]{span: span, sums: make([]T, places)}
}

func (r *ring[T]) number(at time.Time) int64 { return at.UnixNano() / int64(r.span) }

// add counts n at a time, which may be before now; what has left the window is left alone.
func (r *ring[T]) add(now, at time.Time, n T) {
	r.turn(now)
	number := min(r.number(at), r.last)
	if number > r.last-int64(len(r.sums)) {
		r.sums[r.place(number)] += n
	}
}

// sum is what was counted in the window until a time.
func (r *ring[T]) sum(now, until time.Time) (sum T) {
	r.turn(now)
	for number := r.last - int64(len(r.sums)) + 1; number <= min(r.last, r.number(until)); number++ {
		sum += r.sums[r.place(number)]
	}
	return sum
}

func (r *ring[T]) place(number int64) int { return int(number % int64(len(r.sums))) }

func (r *ring[T]) turn(now time.Time) {
	number := r.number(now)
	if number <= r.last {
		return
	}
	for gone := max(r.last, number-int64(len(r.sums))) + 1; gone <= number; gone++ {
		r.sums[r.place(gone)] = 0
	}
	r.last = number
}

// clear forgets everything.
func (r *ring[T]) clear() { clear(r.sums) }

// Caps are the most that may be spent.
type Caps struct {
	// Hour and Day are for any 60 minutes and any 24 hours, in the table's currency; 0 where nothing may be
	// spent.
	Hour Money `yaml:"hour"`
	Day  Money `yaml:"day"`
}

// share is one gateway's part of caps that several have together.
func (c Caps) share(gateways int) Caps {
	return Caps{c.Hour / Money(gateways), c.Day / Money(gateways)}
}

// account is what was spent under caps.
type account struct {
	caps      Caps
	hour, day ring[Money]
}

func newAccount(caps Caps) *account {
	return &account{caps: caps, hour: newRing[Money](5*time.Minute, 13), day: newRing[Money](time.Hour, 25)}
}

// affords says whether a price fits under the caps.
func (a *account) affords(now time.Time, price Money) bool {
	return a.hour.sum(now, now)+price <= a.caps.Hour && a.day.sum(now, now)+price <= a.caps.Day
}

// spend books a price at a time; one below 0 gives back what was booked then.
func (a *account) spend(now, at time.Time, price Money) {
	a.hour.add(now, at, price)
	a.day.add(now, at, price)
}

package sms

import "time"

// Report is what one gateway has counted of its routes, for operators. It names no number and no message, and
// decides nothing: receipts come late, twice or never.
type Report struct {
	// At is when it was made. Since is when the gateway began to count: one that starts again counts from 0, and
	// has spent nothing.
	At    time.Time `json:"at"`
	Since time.Time `json:"since"`
	// Currency is what all amounts are in; empty where nothing costs anything.
	Currency string        `json:"currency,omitempty"`
	Routes   []RouteReport `json:"routes"`
	// Spending is what was spent under each cap, that for everything first.
	Spending []Spending `json:"spending"`
	// Refused is how many messages no route was asked to send, or no other, by the reason: "spent", "unused",
	// "country", "no_route".
	Refused map[string]int64 `json:"refused"`
}

// Counts are what became of messages, since the gateway began to count.
type Counts struct {
	// Sent are the messages that the provider took, Failed those that it certainly didn't, and Unknown those that
	// may have gone out. Calls are how many of all these it was to speak.
	Sent    int64 `json:"sent"`
	Failed  int64 `json:"failed"`
	Unknown int64 `json:"unknown"`
	Calls   int64 `json:"calls"`
	// Delivered and Undelivered are what receipts said; of the other messages nothing final was heard.
	Delivered   int64 `json:"delivered"`
	Undelivered int64 `json:"undelivered"`
	// Delays are how long receipts of delivery took in the last half-hour, for messages that this gateway sent.
	Delays []Delay `json:"delays,omitempty"`
	// Used is the share of the last half-hour's codes that were used, between 0 and 1, of the Settled ones: those
	// whose voters have had the time. It says nothing where Settled is 0.
	Used    float64 `json:"used"`
	Settled int64   `json:"settled"`
	// SpentHour and SpentDay are what was spent in the last hour and the last 24.
	SpentHour float64 `json:"spent_hour"`
	SpentDay  float64 `json:"spent_day"`
}

// Delay is how many messages were said to be delivered within some seconds of being handed over, and not within
// those of the Delay before.
type Delay struct {
	// Within is 0 for those that took longer than ten minutes.
	Within float64 `json:"within"`
	Count  int64   `json:"count"`
}

// RouteReport is what one gateway has counted of one route.
type RouteReport struct {
	Name string `json:"name"`
	// Kind is the kind of provider.
	Kind string `json:"kind"`
	// Counts are of all countries together, with the receipts of messages whose country this gateway doesn't know:
	// another sent them.
	Counts
	// Countries are where the route leads to.
	Countries []CountryReport `json:"countries"`
	// Faults is the breaker on errors and latency, Conversion that on codes which nobody uses.
	Faults     Breaker `json:"faults"`
	Conversion Breaker `json:"conversion"`
	// RestsUntil is until when the route is not asked, because of faults or because its provider said so; zero
	// where it is.
	RestsUntil time.Time `json:"rests_until,omitzero"`
	// Away says that the provider knows by itself that it can't send: its connection is down.
	Away bool `json:"away,omitempty"`
	// Trouble is the latest; nil if there was none.
	Trouble *Trouble `json:"trouble,omitempty"`
}

// CountryReport is what one gateway has counted of one route to one country.
type CountryReport struct {
	// To is the country's calling code ("+852"), or "+" for everywhere else.
	To string `json:"to"`
	Counts
}

// Breaker is the state of a breaker.
type Breaker string

// The states: it works, it is being tried, it is left alone (or comes last, for a breaker on conversion).
const (
	BreakerClosed   Breaker = "closed"
	BreakerHalfOpen Breaker = "half_open"
	BreakerOpen     Breaker = "open"
)

// Trouble is what last went wrong with a route that was no fault of the number's.
type Trouble struct {
	At time.Time `json:"at"`
	// What is "blocked", "throttled", "unavailable", "unknown", or "slow" for an answer that came too late.
	What string `json:"what"`
}

// Spending is what one gateway has spent under its part of a cap, in any 60 minutes and any 24 hours.
type Spending struct {
	// To is a country's calling code ("+852"), "+" for everywhere else, or "all". A country whose parts have caps of
	// their own is here several times.
	To      string  `json:"to"`
	Hour    float64 `json:"hour"`
	HourCap float64 `json:"hour_cap"`
	Day     float64 `json:"day"`
	DayCap  float64 `json:"day_cap"`
}

package ratelimit

//go:generate go run ./limitsdoc -o ../../docs/limits.md

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Table is every limit with its default, in the order the documentation lists them.
//
// Limits by voter or by phone that could lock out a victim (a stranger who knows an identity number or a
// phone can start sessions for it) also count by network: the stranger uses up the stranger's allowance.
// What counts by phone alone is three times as much: it takes somebody with several networks to use that up,
// and without it they could flood the phone, or guess its codes.
var Table = []Limit{
	{"challenge-network", Challenge, []Dimension{Network}, 1200, time.Minute, "Twice the sessions of a network: a challenge may be fetched and not used."},
	{"captcha-network", Captcha, []Dimension{Network}, 240, time.Minute, "A classroom without scripts: a picture each, and a recording for some. Who reads pictures by machine gets no more."},
	{"captcha-global", Captcha, []Dimension{Global}, 3000, time.Minute, "A bound on what drawing (3 ms) and speaking (12 ms) cost the API servers."},
	{"attempt-network", Attempt, []Dimension{Network}, 1200, time.Minute, "Twice the sessions of a network; a bound on the work that wrong solutions cause."},
	{"session-network", Session, []Dimension{Network}, 600, time.Minute, "A school or a carrier's gateway behind one address keeps ten voters a second going."},
	{"session-voter", Session, []Dimension{Voter, Network}, 10, 10 * time.Minute, "One person tries again, with other phones and lost pages."},
	{"session-phone", Session, []Dimension{Phone, Network}, 20, 10 * time.Minute, "A family may share one phone."},
	{"session-poll", Session, []Dimension{Poll}, 120_000, time.Minute, "2,000 sessions a second; the 2014 vote peaked at 47 votes a second."},
	{"session-global", Session, []Dimension{Global}, 240_000, time.Minute, "What one API server is meant to carry."},
	{"send-phone", Send, []Dimension{Phone, Network}, 8, time.Hour, "Two sessions with every resend. Who types somebody else's phone uses up their own."},
	{"send-phone-all", Send, []Dimension{Phone}, 24, time.Hour, "Nobody is flooded with SMS, from however many networks they are asked for."},
	{"send-block", Send, []Dimension{Block, Network}, 60, time.Hour, "A pump sends to one number after the other. At 47 votes a second, as in 2014, a block has some five voters an hour."},
	{"send-block-all", Send, []Dimension{Block}, 180, time.Hour, "The same, from however many networks. Ten such blocks side by side meet the gateway's cap on money."},
	{"send-voter", Send, []Dimension{Voter, Network}, 12, time.Hour, "One identity number does not send SMS to many phones."},
	{"send-network", Send, []Dimension{Network}, 600, time.Hour, "A classroom with every resend; a bound on what one network can make the organiser pay."},
	{"send-poll", Send, []Dimension{Poll}, 60_000, time.Hour, "A bound on what one poll costs."},
	{"send-global", Send, []Dimension{Global}, 90_000, time.Hour, "A bound on what all polls cost."},
	{"check-network", Check, []Dimension{Network}, 1200, time.Minute, "Five tries for every phone of a busy network."},
	{"check-phone", Check, []Dimension{Phone, Network}, 40, time.Hour, "Five tries for every SMS that send-phone allows; guessing across sessions gains nothing."},
	{"check-phone-all", Check, []Dimension{Phone}, 120, time.Hour, "Five tries for every SMS that send-phone-all allows: one chance in 8,000 an hour to guess a phone's code, from all networks."},
	{"verify-phone", Verify, []Dimension{Phone}, 10, 24 * time.Hour, "A family that shares one phone, with lost pages; one phone does not vote for a street. Counted once it is proved, so nobody uses up a phone that isn't theirs."},
	{"wait-network", Wait, []Dimension{Network}, 2400, time.Minute, "Held connections opened; a network with poor reception reopens them."},
	{"cast-network", Cast, []Dimension{Network}, 1200, time.Minute, "Twice the sessions of a network: retries with the same key are welcome."},
	{"cast-voter", Cast, []Dimension{Voter}, 60, time.Minute, "Retries of one ballot; only the holder of the verified token uses it up."},
	{"cast-global", Cast, []Dimension{Global}, 1_200_000, time.Minute, "20,000 ballots a second: more than a ballot server takes."},
	{"download-network", Download, []Dimension{Network}, 6000, time.Minute, "An observer reads the whole log of a million ballots in a minute."},
	{"report-network", Report, []Dimension{Network}, 60, time.Minute, "Browsers put a minute's violations into one report; a page that works has none."},
	{"report-global", Report, []Dimension{Global}, 6000, time.Minute, "What is forbidden in everybody's browser at once is known after the first hundred."},
}

// Reserve is what one server allows by itself, beside its rows of Table, while the Redis that the servers
// share is away: sending costs money, a code has a million values, and a proved phone may cast.
var Reserve = []Limit{
	{"send-phone-alone", Send, []Dimension{Phone, Network}, 3, time.Hour, "One code, and twice again."},
	{"send-network-alone", Send, []Dimension{Network}, 60, time.Hour, "A classroom, once."},
	{"send-global-alone", Send, []Dimension{Global}, 1200, time.Hour, "What the organiser can bear to lose to a flood, per server."},
	{"check-phone-alone", Check, []Dimension{Phone, Network}, 10, time.Hour, "Two codes' tries: no server opens because the others can't be asked."},
	{"verify-phone-alone", Verify, []Dimension{Phone}, 4, 24 * time.Hour, "A small family, at each server."},
	{"check-network-alone", Check, []Dimension{Network}, 300, time.Minute, "A quarter of what a network is allowed together."},
}

// Rate replaces a row's numbers.
type Rate struct {
	// Count actions in any Window. 0 takes the limit away, for all polls and never for one.
	Count int `koanf:"count"`
	// Window, at least one second.
	Window time.Duration `koanf:"window"`
}

// Tune returns the table with rows replaced by name, and every count multiplied by scale (0 means
// 1). A bench that plays a city from one address uses a large scale; nothing else should.
func Tune(table []Limit, scale float64, override map[string]Rate) ([]Limit, error) {
	if scale < 0 {
		return nil, fmt.Errorf("couldn't tune the limits: scale is %g, want more than 0", scale)
	}
	known := map[string]bool{}
	out := make([]Limit, 0, len(table))
	for _, l := range table {
		known[l.Name] = true
		if r, ok := override[l.Name]; ok {
			if r.Count == 0 {
				continue
			}
			if r.Count < 0 || r.Window < time.Second {
				return nil, fmt.Errorf("couldn't tune the limits: %s wants a positive count and a window of at least 1s", l.Name)
			}
			l.Count, l.Window = r.Count, r.Window
		}
		out = append(out, l.at(Rate{l.Count, l.Window}, scale))
	}
	for _, name := range slices.Sorted(maps.Keys(override)) {
		if !known[name] {
			return nil, fmt.Errorf("couldn't tune the limits: there is none called %q", name)
		}
	}
	return out, nil
}

// at is the row with other numbers, scaled.
func (l Limit) at(r Rate, scale float64) Limit {
	if scale == 0 {
		scale = 1
	}
	l.Count, l.Window = max(1, int(float64(r.Count)*scale)), r.Window
	return l
}

// tuned is one of the two tables; overrides may name rows of both.
func tuned(table []Limit, c Config) ([]Limit, error) {
	both, err := Tune(slices.Concat(Table, Reserve), c.Scale, c.Override)
	if err != nil {
		return nil, err
	}
	if err := c.checkPolls(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(both, func(l Limit) bool {
		return !slices.ContainsFunc(table, func(one Limit) bool { return one.Name == l.Name })
	}), nil
}

const (
	// mostTimes is how many times what the table allows a poll may allow: beyond it a row protects nothing.
	mostTimes = 100
	// longest is the longest window of a poll's row: nobody's counter is kept for longer.
	longest = 7 * 24 * time.Hour
)

// checkPolls says everything that is wrong with the numbers that polls have of their own.
func (c Config) checkPolls() error {
	var wrong []error
	for _, poll := range slices.Sorted(maps.Keys(c.Polls)) {
		if !pollID.MatchString(poll) {
			wrong = append(wrong, fmt.Errorf("%q is no poll's id", poll))
		}
		for _, name := range slices.Sorted(maps.Keys(c.Polls[poll])) {
			if why := c.wrongFor(name, c.Polls[poll][name]); why != "" {
				wrong = append(wrong, fmt.Errorf("%s of poll %s %s", name, poll, why))
			}
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("couldn't tune the limits of single polls: %w", errors.Join(wrong...))
}

// pollID is the form of a poll's id (the schema PollId).
var pollID = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// wrongFor says why a poll may not have such numbers for a row; empty if it may.
func (c Config) wrongFor(name string, r Rate) string {
	both := slices.Concat(Table, Reserve)
	at := slices.IndexFunc(both, func(l Limit) bool { return l.Name == name })
	if at < 0 {
		return "is no limit: there is none called so"
	}
	l := both[at]
	general, changed := c.Override[name]
	switch {
	case slices.Contains(l.By, Global):
		return "can't be set: it counts all polls together"
	case l.On == Challenge:
		return "can't be set: whoever asks for a challenge has not said in which poll"
	case changed && general.Count == 0:
		return "can't be set: the limit is taken away for all polls"
	case r.Count == 0:
		return "has no count, or 0: no single poll goes without a limit"
	case r.Count < 0:
		return "has a count below 0"
	case r.Window < time.Second || r.Window > longest:
		return fmt.Sprintf("has a window of %s: want 1 second to %s", r.Window, window(longest))
	case r.Count > mostTimes*l.Count || float64(r.Count)*l.Window.Seconds() > mostTimes*float64(l.Count)*r.Window.Seconds():
		return fmt.Sprintf("allows %d in %s: more than %d times the table's %d in %s protects nothing", r.Count, window(r.Window), mostTimes, l.Count, window(l.Window))
	}
	return ""
}

// Changed says whether anything is not as documented.
func (c Config) Changed() bool {
	return len(c.Override) > 0 || len(c.Polls) > 0 || c.Scale != 0 && c.Scale != 1
}

// LogValue says what, for the log of a start: nothing is taken away in silence.
func (c Config) LogValue() slog.Value {
	var off, changed []string
	for _, name := range slices.Sorted(maps.Keys(c.Override)) {
		if c.Override[name].Count == 0 {
			off = append(off, name)
		} else {
			changed = append(changed, name)
		}
	}
	return slog.GroupValue(slog.Any("taken_away", off), slog.Any("changed", changed),
		slog.Any("polls", slices.Sorted(maps.Keys(c.Polls))), slog.Float64("scale", cmp.Or(c.Scale, 1)))
}

// Markdown is the table as documentation.
func Markdown(table []Limit) string {
	var b strings.Builder
	b.WriteString("| limit | counts | by | allows | why |\n|---|---|---|---|---|\n")
	for _, l := range table {
		by := make([]string, len(l.By))
		for i, d := range l.By {
			by[i] = string(d)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %d in %s | %s |\n", l.Name, l.On, strings.Join(by, " and "), l.Count, window(l.Window), l.Why)
	}
	return b.String()
}

func window(d time.Duration) string {
	for _, unit := range []struct {
		d    time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		if n := d / unit.d; n > 0 && d%unit.d == 0 {
			if n == 1 {
				return "1 " + unit.name
			}
			return fmt.Sprintf("%d %ss", n, unit.name)
		}
	}
	return d.String()
}

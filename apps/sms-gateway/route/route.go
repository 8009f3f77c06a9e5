// Package route chooses which provider sends an SMS, and says when none does: it spreads messages over routes
// by weight, goes on to the next when one fails, sends a voter who asks again by another, leaves those alone
// that don't work, and stops paying where nobody reads.
package route

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/libs/sms"
)

// What the router itself refuses; nobody is asked then, and nothing is paid.
var (
	// ErrNotServed is a number in a country that no SMS goes to.
	ErrNotServed = fmt.Errorf("no SMS go to this country: %w", sms.ErrPermanent)
	// ErrSpent is money that the caps don't leave. Another gateway may have some.
	ErrSpent = fmt.Errorf("the money for SMS is spent: %w", sms.ErrUnavailable)
	// ErrUnused is a block of numbers where codes are sent and not used.
	ErrUnused = fmt.Errorf("codes to such numbers are not used: %w", sms.ErrBlocked)
	// ErrNoRoute is a message whose routes all rest, or that came too late for any.
	ErrNoRoute = fmt.Errorf("no route takes the SMS just now: %w", sms.ErrUnavailable)
)

const (
	// sendWithin is how long a message may take over all routes: less than the voter's API server waits.
	sendWithin = 7 * time.Second
	// routeWithin is the most of it that one route gets, and leastWithin what it leaves to each after it.
	routeWithin = 4 * time.Second
	leastWithin = time.Second
	// maxTries is how many routes one message is tried by.
	maxTries = 3
)

// Deps are what a router works with.
type Deps struct {
	// Receiver takes what voters text to the providers.
	Receiver sms.Receiver
	Clock    func() time.Time
	Log      *slog.Logger
	Metrics  prometheus.Registerer
	// HTTP asks the providers. It must not follow redirects.
	HTTP *http.Client
}

// Router is a Sender over the routes of a table. Safe for concurrent use.
type Router struct {
	table   *Table
	clock   func() time.Time
	since   time.Time
	figures *figures
	routes  []*leader
	hooks   map[string]http.Handler

	mu sync.Mutex
	// guarded by mu, as is what leaders say of themselves; never held while a provider is asked
	history   *history
	receipts  receipts
	total     *account
	countries []*account
	tallies   [][]*tally // as the table's countries, and their routes
}

// leader is a route as this gateway has met it: what it leads to, and how it does.
type leader struct {
	name     string
	kind     string
	provider provider.Provider

	// guarded by Router.mu
	faults  faults
	conv    conversion
	stray   told // of messages that went nobody knows where: another gateway sent them
	trouble *sms.Trouble
}

var (
	_ sms.Sender        = (*Router)(nil)
	_ sms.Confirmer     = (*Router)(nil)
	_ provider.Receipts = (*Router)(nil)
)

// New makes the table's providers, and a router over them with its metrics registered. Kinds are those that the
// table may name.
func New(table *Table, kinds map[string]Kind, deps Deps) (*Router, error) {
	if err := table.check(kinds); err != nil {
		return nil, fmt.Errorf("the table of routes is broken:\n%w", err)
	}
	past, err := newHistory(table.Conversion.Block, deps.Clock)
	if err != nil {
		return nil, err
	}
	r := &Router{
		table: table, clock: deps.Clock, since: deps.Clock(), hooks: map[string]http.Handler{},
		history: past, total: newAccount(table.Spend.share(table.Gateways)),
	}
	if r.receipts, err = newReceipts(); err != nil {
		return nil, err
	}
	r.figures = newFigures(r)
	for i, c := range table.Countries {
		r.countries, r.tallies = append(r.countries, newAccount(c.Spend.share(table.Gateways))), append(r.tallies, nil)
		for range c.Legs {
			r.tallies[i] = append(r.tallies[i], newTally(table.Conversion.Route))
		}
	}
	for _, row := range table.Routes {
		p, err := kinds[row.Kind](row.Config, provider.Deps{
			Name: row.Name, Receiver: deps.Receiver, Receipts: r, Clock: deps.Clock, HTTP: deps.HTTP,
			Log: deps.Log.With(slog.String("route", row.Name)),
		})
		if err != nil {
			return nil, fmt.Errorf("couldn't make the route %s: %w", row.Name, err)
		}
		r.routes = append(r.routes, &leader{
			name: row.Name, kind: row.Kind, provider: p,
			faults: newFaults(), conv: newConversion(table.Conversion.Route),
		})
		if called, ok := p.(provider.Webhooks); ok {
			r.hooks[row.Name] = called.Handler()
		}
	}
	if err := r.checkCallers(); err != nil {
		return nil, err
	}
	r.figures.begin()
	deps.Metrics.MustRegister(r.figures)
	return r, nil
}

// checkCallers says which routes are to make calls and can't.
func (r *Router) checkCallers() error {
	for i, country := range r.table.Countries {
		for j, l := range country.Legs {
			caller, ok := r.leader(l.Route).provider.(provider.Caller)
			if l.CallPrice != nil && (!ok || !caller.CanCall()) {
				return fmt.Errorf("countries[%d].routes[%d].call-price: %s makes no calls, or is not set up to", i, j, l.Route)
			}
		}
	}
	return nil
}

// leader is that of a route; nil if there is none.
func (r *Router) leader(route string) *leader {
	if i := slices.IndexFunc(r.routes, func(one *leader) bool { return one.name == route }); i >= 0 {
		return r.routes[i]
	}
	return nil
}

// Send implements sms.Sender. A message goes by one route; by the next only where it certainly didn't go by the
// one before. Where it may have, that is the end of it (sms.ErrUnknown).
func (r *Router) Send(ctx context.Context, m sms.Message) error {
	err := r.send(ctx, m)
	r.figures.refuse(err)
	return err
}

func (r *Router) send(ctx context.Context, m sms.Message) error {
	country := r.table.country(m.To.Reveal())
	if country < 0 {
		return ErrNotServed
	}
	now := r.clock()
	within := sendWithin
	if !m.Deadline.IsZero() {
		within = min(within, m.Deadline.Sub(now))
	}
	end := now.Add(within)
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	failed := []error{}
	legs := r.order(country, m)
	for i, leg := range legs {
		share := min(routeWithin, end.Sub(r.clock())-time.Duration(len(legs)-1-i)*leastWithin)
		if ctx.Err() != nil || share <= 0 {
			break
		}
		sending, err := r.begin(country, leg, m)
		if errors.Is(err, ErrSpent) || errors.Is(err, ErrNoRoute) {
			failed = append(failed, err)
			continue // another may be cheaper, or free
		}
		if err != nil {
			return err
		}
		err = sending.try(ctx, share)
		switch outcomeOf(err) {
		case sent:
			return nil
		case unknown, permanent:
			return fmt.Errorf("couldn't send by %s: %w", leg.by.name, err)
		case blocked:
			if !r.table.Countries[country].BlockedMovesOn {
				return fmt.Errorf("couldn't send by %s: %w", leg.by.name, err)
			}
		case throttled, unavailable:
		}
		failed = append(failed, fmt.Errorf("couldn't send by %s: %w", leg.by.name, err))
	}
	if len(failed) == 0 {
		return ErrNoRoute
	}
	return errors.Join(failed...)
}

// leg is a route to a country, with what it costs.
type leg struct {
	by    *leader
	price Money
	tally *tally
}

// order is by which routes a message is to be tried. The choice is made by hashing what the conversation is
// called with the routes' names (weighted rendezvous hashing), so every gateway makes the same one and needs
// no memory for it; each attempt begins one further down, and the route that is known to have been the last
// comes last. Routes whose codes are not used come after the others, and those that rest are left out.
func (r *Router) order(country int, m sms.Message) []leg {
	type place struct {
		leg
		score float64
		late  int
	}
	conversation := cmp.Or(m.Conversation, m.ID)
	var places []place
	for i, l := range r.table.Countries[country].Legs {
		price, ok := l.price(m.Kind)
		if !ok {
			continue
		}
		p := place{leg{r.leader(l.Route), price, r.tallies[country][i]}, float64(i), 0} // routes without a weight keep their order, after the others
		if l.Weight > 0 {
			p.score = l.Weight / math.Log(chance(conversation, l.Route)) // below 0: the lower, the sooner
		}
		places = append(places, p)
	}
	now := r.clock()
	r.mu.Lock()
	defer r.mu.Unlock()
	places = slices.DeleteFunc(places, func(p place) bool { return !p.by.faults.admits(now) })
	slices.SortStableFunc(places, func(a, b place) int { return cmp.Compare(a.score, b.score) })
	for i := range places {
		if !places[i].by.conv.admits(now) {
			places[i].late = 1
		}
	}
	slices.SortStableFunc(places, func(a, b place) int { return cmp.Compare(a.late, b.late) })
	good := 0
	for good < len(places) && places[good].late == 0 {
		good++
	}
	if good == 0 {
		good = len(places) // none is better than the others
	}
	if m.Attempt > 0 && good > 1 {
		first := m.Attempt % good
		rotated := slices.Concat(places[first:good], places[:first])
		if last := r.history.last(m.Conversation); last != nil {
			slices.SortStableFunc(rotated, func(a, b place) int { return cmp.Compare(is(a.by, last), is(b.by, last)) })
		}
		copy(places, rotated)
	}
	var legs []leg
	for _, p := range places[:min(maxTries, len(places))] {
		legs = append(legs, p.leg)
	}
	return legs
}

func is(a, b *leader) int {
	if a == b {
		return 1
	}
	return 0
}

// chance is a number between 0 and 1, neither of which it is, that two names give.
func chance(conversation, route string) float64 {
	h := fnv.New64a()
	h.Write([]byte(conversation))
	h.Write([]byte{0})
	h.Write([]byte(route))
	x := h.Sum64()
	// Names that differ in their last letter must not give numbers that are near each other (splitmix64).
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return (float64(x>>11) + 0.5) / (1 << 53)
}

// sending is one message on its way by one route, paid for.
type sending struct {
	router   *Router
	leg      leg
	m        sms.Message
	began    time.Time
	probe    bool
	call     bool
	accounts []*account
	block    *block
	uncount  func(time.Time)
}

// begin books a message, or says why it is not to be sent by this route.
func (r *Router) begin(country int, l leg, m sms.Message) (*sending, error) {
	now := r.clock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !l.by.faults.admits(now) {
		return nil, fmt.Errorf("%s: %w", l.by.name, ErrNoRoute) // it failed meanwhile, or is being tried
	}
	s := &sending{router: r, leg: l, m: m, began: now}
	if l.price > 0 {
		s.accounts = []*account{r.total, r.countries[country]}
		s.block = r.history.block(m.To.Reveal())
		if !s.block.conv.admits(now) {
			return nil, ErrUnused
		}
		if s.block.hour.sum(now, now)+l.price > r.table.BlockHour/Money(r.table.Gateways) {
			return nil, fmt.Errorf("for one block of numbers: %w", ErrSpent)
		}
		for _, a := range s.accounts {
			if !a.affords(now, l.price) {
				return nil, ErrSpent
			}
		}
		s.book(now, l.price)
	}
	s.uncount = r.history.sent(now, m.Conversation, l, s.block)
	s.probe = l.by.faults.begin()
	return s, nil
}

func (s *sending) book(now time.Time, price Money) {
	for _, a := range s.accounts {
		a.spend(now, s.began, price)
	}
	s.leg.tally.spent.spend(now, s.began, price)
	if s.block != nil {
		s.block.hour.add(now, s.began, price)
	}
}

// try asks the provider, and books what came of it: also where the provider has a bug, or never comes back.
func (s *sending) try(ctx context.Context, within time.Duration) (err error) {
	err = sms.ErrUnknown
	ref := ""
	asked := s.router.figures.asked.WithLabelValues(s.leg.by.name)
	asked.Inc()
	defer func() {
		asked.Dec()
		s.end(ctx, ref, err)
	}()
	asking, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if caller, ok := s.leg.by.provider.(provider.Caller); ok && s.m.Kind == sms.ByCall {
		s.router.figures.calls.WithLabelValues(s.leg.by.name).Inc()
		s.call = true
		ref, err = caller.Call(asking, s.m)
	} else {
		ref, err = s.leg.by.provider.Send(asking, s.m)
	}
	if outcomeOf(err) == unknown && !errors.Is(err, sms.ErrUnknown) {
		err = fmt.Errorf("%w: %w", sms.ErrUnknown, err) // it doesn't say that it wasn't sent
	}
	return err
}

func (s *sending) end(ctx context.Context, ref string, err error) {
	r, by, outcome := s.router, s.leg.by, outcomeOf(err)
	now := r.clock()
	took := now.Sub(s.began)
	r.mu.Lock()
	defer r.mu.Unlock()
	s.leg.tally.end(outcome, s.call)
	r.receipts.post(now, by, ref, letter{s.leg.tally, s.began})
	if outcome.costs() {
		r.figures.spent.WithLabelValues(by.name).Add(s.leg.price.Units())
	} else {
		s.book(now, -s.leg.price)
		s.uncount(now)
	}
	v := outcome.verdict()
	switch {
	case v == well && took > r.table.Slow:
		v = faulty
	case v == faulty && ctx.Err() != nil && took <= r.table.Slow:
		v = nothing // whoever asked gave up
	}
	if what := troubleOf(outcome, v); what != "" {
		by.trouble = &sms.Trouble{At: now, What: what}
	}
	by.faults.end(now, s.probe, v)
	if wait, ok := errors.AsType[*sms.Throttled](err); ok {
		by.faults.throttle(now, wait.After)
	} else if outcome == throttled {
		by.faults.throttle(now, 0)
	}
	r.figures.sent.WithLabelValues(by.name, string(outcome)).Inc()
	r.figures.took.WithLabelValues(by.name).Observe(took.Seconds())
}

// Run does what providers have to do besides (provider.Runner), until the context ends; then it waits for them.
func (r *Router) Run(ctx context.Context) {
	var group sync.WaitGroup
	for _, one := range r.routes {
		if runner, ok := one.provider.(provider.Runner); ok {
			group.Go(func() { runner.Run(ctx) })
		}
	}
	group.Wait()
}

// Health is what readiness says of sending: somebody must take messages.
func (r *Router) Health(ctx context.Context) error {
	failed := []error{ErrNoRoute}
	for _, one := range r.routes {
		r.mu.Lock()
		works := one.faults.state(r.clock()) == closed
		r.mu.Unlock()
		if !works {
			continue
		}
		checker, ok := one.provider.(provider.Checker)
		if !ok {
			return nil
		}
		err := checker.Check(ctx)
		if err == nil {
			return nil
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// Confirm implements sms.Confirmer.
func (r *Router) Confirm(conversation string) {
	now := r.clock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.used(now, conversation)
}

// outcome is what became of a message, as figures name it.
type outcome string

const (
	sent        outcome = "sent"
	permanent   outcome = "permanent"
	blocked     outcome = "blocked"
	throttled   outcome = "throttled"
	unavailable outcome = "unavailable"
	unknown     outcome = "unknown"
)

// outcomes are all of them.
var outcomes = []outcome{sent, permanent, blocked, throttled, unavailable, unknown}

// outcomeOf reads a provider's error; whatever it does not say certainly, is unknown.
func outcomeOf(err error) outcome {
	switch {
	case err == nil:
		return sent
	case errors.Is(err, sms.ErrUnknown):
		return unknown
	case errors.Is(err, sms.ErrPermanent):
		return permanent
	case errors.Is(err, sms.ErrBlocked):
		return blocked
	case errors.Is(err, sms.ErrThrottled):
		return throttled
	case errors.Is(err, sms.ErrUnavailable):
		return unavailable
	default:
		return unknown
	}
}

// costs says whether the provider may want money for it.
func (o outcome) costs() bool { return o == sent || o == unknown }

// verdict is what it says of the route's health. A refusal is an answer.
func (o outcome) verdict() verdict {
	switch o {
	case unavailable, unknown:
		return faulty
	case throttled:
		return nothing
	default:
		return well
	}
}

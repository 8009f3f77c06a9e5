package overhttp

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/ballotapi/wire"
	"github.com/popvote/popvote/libs/discovery/balance"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/service/servicetest"
)

// TestTheSameOverTheNetwork: what the box answers in the process, it answers over the network.
func TestTheSameOverTheNetwork(t *testing.T) {
	w, near := newWorld(t), newMemory()
	far := w.client("api-server", ClientConfig{}, w.serve(NewHandler(near, Production())))
	first := vote(1)
	other := vote(1)
	stranger := vote(2)
	stranger.Poll = "dinner"
	remote := w.cast(far, first, other, stranger, first)
	w.expect(remote[2], problem.PollNotFound)
	// Which of two ballots of one voter comes first is the box's business.
	for i, o := range w.cast(near, first, other) {
		if o.Receipt != nil && !reflect.DeepEqual(o, remote[i]) {
			t.Errorf("ballot %d: %+v, over the network %+v", i, o.Receipt, remote[i].Receipt)
		}
		if o.Err != nil && !reflect.DeepEqual(problem.From(o.Err), problem.From(remote[i].Err)) {
			t.Errorf("ballot %d: %#v, over the network %#v", i, o.Err, remote[i].Err)
		}
	}
	polls, err := far.Polls(t.Context())
	if err != nil || len(polls) != 1 || polls[0].State != poll.Open {
		t.Error(polls, err)
	}
	tile, err := far.Tile(t.Context(), "lunch", "0/x001/067")
	if err != nil || string(tile) != "lunch\x000/x001/067" {
		t.Errorf("%q %v", tile, err)
	}
	document, err := far.Manifest(t.Context(), "lunch")
	if err != nil || document.JWS != "x.y.z" || string(document.Plain) != `{"a":1}` {
		t.Error(document, err)
	}
}

func TestManyAtOnce(t *testing.T) {
	w, box, again := newWorld(t), newMemory(), newMemory()
	far := w.client("api-server", ClientConfig{Queue: 3000}, w.serve(NewHandler(box, Production())), w.serve(NewHandler(again, Production())))
	var voters sync.WaitGroup
	outcomes := make([]ballotapi.Outcome, 3000)
	for who := range outcomes {
		voters.Go(func() {
			got, err := far.Cast(context.Background(), []ballotapi.Ballot{vote(who)})
			if err == nil {
				outcomes[who] = got[0]
			}
		})
	}
	voters.Wait()
	for _, o := range outcomes {
		w.expect(o, "")
	}
	if box.seen()+again.seen() != len(outcomes) || box.seen() == 0 || again.seen() == 0 {
		t.Errorf("one box got %d, the other %d", box.seen(), again.seen())
	}
}

// TestWhoMayCallWhat tries everything with every certificate.
func TestWhoMayCallWhat(t *testing.T) {
	w, box := newWorld(t), newMemory()
	address := w.serve(NewHandler(box, Production()))
	may := map[string][]wire.Interface{
		"api-server":    {wire.Reader},
		"control-panel": {wire.Reader, wire.Admin},
		"sms-gateway":   {}, "ballot-server": {},
	}
	for service, interfaces := range may {
		c := w.client(service, ClientConfig{}, address)
		for i := range wire.Methods {
			m := &wire.Methods[i]
			allowed := false
			for _, one := range interfaces {
				allowed = allowed || one == m.Interface
			}
			before := box.calls.Load()
			// Not a call of this version: it is refused before anything is called, or not.
			response, err := c.Send(t.Context(), m, []byte(`{"nonsense":1}`))
			w.ok(err)
			response.Body.Close()
			want := http.StatusForbidden
			if allowed {
				want = http.StatusBadRequest
			}
			if response.StatusCode != want || box.calls.Load() != before {
				t.Errorf("%s calls %s: %s", service, m.Name, response.Status)
			}
		}
		if o := w.cast(c, vote(1))[0]; (o.Receipt != nil) != (service == "api-server") || o.Err != nil && !errors.Is(o.Err, ErrForbidden) {
			t.Errorf("%s casts: %v", service, o.Err)
		}
	}
}

// TestAPIServerIsNoAdmin calls each method of ballotapi.Admin that is not Reader's, as anybody would.
func TestAPIServerIsNoAdmin(t *testing.T) {
	w, box := newWorld(t), newMemory()
	c := w.client("api-server", ClientConfig{}, w.serve(NewHandler(box, Production())))
	admin, reader := reflect.TypeFor[ballotapi.Admin](), reflect.TypeFor[ballotapi.Reader]()
	tried := 0
	for i := range admin.NumMethod() {
		m := admin.Method(i)
		if _, reads := reader.MethodByName(m.Name); reads {
			continue
		}
		in := []reflect.Value{reflect.ValueOf(t.Context())}
		for j := 1; j < m.Type.NumIn(); j++ {
			in = append(in, reflect.Zero(m.Type.In(j)))
		}
		out := reflect.ValueOf(c).MethodByName(m.Name).Call(in)
		if err, _ := out[len(out)-1].Interface().(error); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v", m.Name, err)
		}
		tried++
	}
	if tried < 9 || box.calls.Load() > 0 {
		t.Errorf("tried %d methods, %d came through", tried, box.calls.Load())
	}
}

// TestErrorsKeepTheirTypes: and an error of no type stays inside.
func TestErrorsKeepTheirTypes(t *testing.T) {
	w, box := newWorld(t), newMemory()
	log := new(servicetest.Output)
	c := w.client("control-panel", ClientConfig{}, w.serve(NewHandler(box, Production(), WithLog(slog.New(slog.NewTextHandler(log, nil))))))
	fail := func(err error) error {
		box.failing.Store(&err)
		return c.Move(t.Context(), "lunch", poll.Open, ballotapi.Change{})
	}
	refused := &ballotapi.Refused{Poll: "lunch", State: poll.Closed, Reason: "it is over"}
	if r, ok := errors.AsType[*ballotapi.Refused](fail(refused)); !ok || *r != *refused {
		t.Error("a refusal lost its type")
	}
	if p := problem.From(fail(problem.New(problem.InvalidField).At("/reason").Because("for a reason").After(time.Second))); p.Code != problem.InvalidField || p.Field != "/reason" || p.Detail != "for a reason" || p.RetryAfter != time.Second {
		t.Errorf("%#v", p)
	}
	if f, ok := errors.AsType[poll.Faults](fail(poll.Faults{{Path: "id", Message: "is missing"}})); !ok || f[0].Path != "id" {
		t.Error("faults lost their type")
	}
	if err := fail(errInside); problem.From(err).Code != problem.Internal || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
	w.eventually("the log line", func() bool { return strings.Contains(log.String(), errInside.Error()) })
}

// TestCallersTravelTogether: while the one place is taken, what comes in is collected, and who gives up
// waiting doesn't stop what was sent.
func TestCallersTravelTogether(t *testing.T) {
	w, box := newWorld(t), newMemory()
	box.hold = make(chan struct{})
	var requests atomic.Int64
	inner := NewHandler(box, Production())
	c := w.client("api-server", ClientConfig{InFlight: 1}, w.serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		inner.ServeHTTP(rw, r)
	})))
	impatient, giveUp := context.WithCancel(t.Context())
	given := make(chan []ballotapi.Outcome, 1)
	first := vote(0)
	go func() {
		outcomes, _ := c.Cast(impatient, []ballotapi.Ballot{first})
		given <- outcomes
	}()
	w.eventually("the first request", func() bool { return box.seen() == 1 })
	giveUp()
	w.expect((<-given)[0], problem.OutcomeUnknown)

	var voters sync.WaitGroup
	outcomes := make([]ballotapi.Outcome, 50)
	for i := range outcomes {
		voters.Go(func() {
			got, err := c.Cast(context.Background(), []ballotapi.Ballot{vote(i + 1)})
			if err == nil {
				outcomes[i] = got[0]
			}
		})
	}
	w.eventually("the queue", func() bool { return len(c.queue) >= 49 }) // the dispatcher holds one
	close(box.hold)
	voters.Wait()
	for _, o := range outcomes {
		w.expect(o, "")
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("51 ballots took %d requests, want 2", n)
	}
	w.expect(w.cast(box, first)[0], "")
	if _, err := c.Cast(impatient, []ballotapi.Ballot{first}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestNothingThere: what was certainly not sent goes to another instance, and is "not applied" if there
// is none.
func TestNothingThere(t *testing.T) {
	w, box := newWorld(t), newMemory()
	up := w.serve(NewHandler(box, Production()))
	for range 5 { // chance decides which is tried first
		c := w.client("api-server", ClientConfig{}, w.nowhere(), w.nowhere(), up)
		w.expect(w.cast(c, vote(1_000+box.seen()))[0], "")
	}
	c := w.client("api-server", ClientConfig{}, w.nowhere())
	for range 2 { // the second finds it ejected
		o := w.cast(c, vote(1))[0]
		w.expect(o, problem.Unavailable)
		if problem.From(o.Err).RetryAfter < time.Second {
			t.Errorf("%#v", o.Err)
		}
	}
	if err := c.Move(t.Context(), "lunch", poll.Open, ballotapi.Change{}); problem.From(err).Code != problem.Unavailable {
		t.Error(err)
	}
	w.expect(w.cast(w.client("api-server", ClientConfig{}), vote(1))[0], problem.Unavailable)
}

// TestSentAndNotAnswered: a cast is sent once more, because its key makes that harmless; if that brings
// nothing either, nobody says that nothing happened.
func TestSentAndNotAnswered(t *testing.T) {
	w, box := newWorld(t), newMemory()
	var dropped atomic.Int64
	broken, up := w.serve(dropper(&dropped)), w.serve(NewHandler(box, Production()))
	for dropped.Load() < 3 { // chance decides which is tried first
		c := w.client("api-server", ClientConfig{}, broken, up)
		w.expect(w.cast(c, vote(2_000+box.seen()))[0], "")
	}

	dropped.Store(0)
	both := w.client("api-server", ClientConfig{}, broken, w.serve(dropper(&dropped)))
	w.expect(w.cast(both, vote(1))[0], problem.OutcomeUnknown)
	if n := dropped.Load(); n != 2 {
		t.Errorf("it was sent %d times, want twice", n)
	}

	// Where there is no other, the same one is asked again.
	inner, drop := NewHandler(box, Production()), dropper(&dropped)
	dropped.Store(0)
	once := w.client("api-server", ClientConfig{}, w.serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if dropped.Load() == 0 {
			drop.ServeHTTP(rw, r)
		}
		inner.ServeHTTP(rw, r)
	})))
	w.expect(w.cast(once, vote(3_000))[0], "")
	if dropped.Load() != 1 {
		t.Error("it was answered at once")
	}

	// "Not applied" of the second try says nothing about the first.
	full := newMemory()
	full.full = true
	busy := w.serve(NewHandler(full, Production()))
	dropped.Store(0)
	for dropped.Load() == 0 {
		c := w.client("api-server", ClientConfig{}, broken, busy)
		o := w.cast(c, vote(1))[0]
		want := problem.Overloaded
		if dropped.Load() > 0 {
			want = problem.OutcomeUnknown
		}
		w.expect(o, want)
	}

	dropped.Store(0)
	poor := w.client("api-server", ClientConfig{}, broken)
	poor.budget.tokens = 0
	w.expect(w.cast(poor, vote(1))[0], problem.OutcomeUnknown)
	if n := dropped.Load(); n != 1 {
		t.Errorf("without a budget it was sent %d times", n)
	}
}

// TestAnswerThatBreaksOff: the ballots that were answered keep their answers.
func TestAnswerThatBreaksOff(t *testing.T) {
	w := newWorld(t)
	h := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		rw.Header().Set("Content-Type", castType)
		var out outcomeWriter
		out.problem(1, problem.New(problem.AlreadyVoted))
		_, _ = rw.Write(out.buf)
		_ = http.NewResponseController(rw).Flush()
		panic(http.ErrAbortHandler)
	})
	c := w.client("api-server", ClientConfig{InFlight: 1}, w.serve(h))
	c.budget.tokens = 0
	// Both go in one batch only if they are queued together.
	items := make([]item, 2)
	mine := &cast{done: make(chan struct{}), outcomes: make([]ballotapi.Outcome, 2), left: 2}
	for i := range items {
		b := vote(i)
		items[i] = item{call: mine, at: i, ballot: &b}
	}
	c.deliver(c.balancer.Pick(), items)
	<-mine.done
	w.expect(mine.outcomes[0], problem.OutcomeUnknown)
	w.expect(mine.outcomes[1], problem.AlreadyVoted)
}

func TestChangesAreSentOnce(t *testing.T) {
	w, box := newWorld(t), newMemory()
	var dropped atomic.Int64
	broken := w.serve(dropper(&dropped))
	c := w.client("control-panel", ClientConfig{}, broken)
	if err := c.Move(t.Context(), "lunch", poll.Open, ballotapi.Change{}); problem.From(err).Code != problem.OutcomeUnknown || dropped.Load() != 1 {
		t.Errorf("%v, sent %d times", err, dropped.Load())
	}
	up := w.serve(NewHandler(box, Production()))
	dropped.Store(0)
	for dropped.Load() == 0 { // a read goes to the other one
		c := w.client("control-panel", ClientConfig{}, broken, up)
		if _, err := c.Health(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	dropped.Store(0)
	for dropped.Load() < 20 { // and reads share a budget
		c.balancer = balance.New(balance.Config{Finder: c.cfg.Finder, Service: c.cfg.Service, Clock: c.cfg.Clock}) // which nothing is known to
		if _, err := c.Health(t.Context()); problem.From(err).Code != problem.Unavailable {
			t.Fatal(err)
		}
		if c.budget.tokens < 1 {
			return
		}
		c.budget.tokens--
	}
	t.Error("the budget has no end")
}

// TestFullQueues: whoever finds a queue full is told while those before are still waiting: first in the
// box, then in the client. Nothing is waited for, so the test would hang if the answer came later.
func TestFullQueues(t *testing.T) {
	w, box := newWorld(t), newMemory()
	box.hold, box.full, box.room = make(chan struct{}), true, 4
	c := w.client("api-server", ClientConfig{InFlight: 1, Queue: 8}, w.serve(NewHandler(box, Production())))

	// One request of ten: four wait in the box, six are refused in the middle of the same answer.
	mine := &cast{done: make(chan struct{}), outcomes: make([]ballotapi.Outcome, 10), left: 10}
	items := make([]item, 10)
	for i := range items {
		b := vote(i)
		items[i] = item{call: mine, at: i, ballot: &b}
	}
	var delivering sync.WaitGroup
	delivering.Go(func() { c.deliver(c.balancer.Pick(), items) })
	w.eventually("six refusals", func() bool { mine.mu.Lock(); defer mine.mu.Unlock(); return mine.left == 4 })
	for _, o := range mine.outcomes {
		if o != (ballotapi.Outcome{}) {
			w.expect(o, problem.Overloaded)
			if problem.From(o.Err).RetryAfter != 1500*time.Millisecond {
				t.Errorf("the delay became %s", problem.From(o.Err).RetryAfter)
			}
		}
	}

	// The client's one place is taken: eight wait here, one is in the dispatcher's hand, the rest is
	// refused.
	var many []ballotapi.Ballot
	for i := range 20 {
		many = append(many, vote(100+i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	outcomes, err := c.Cast(ctx, many)
	w.ok(err)
	delays := map[time.Duration]bool{}
	for _, o := range outcomes {
		if code(o) != problem.OutcomeUnknown {
			w.expect(o, problem.Overloaded)
			delays[problem.From(o.Err).RetryAfter] = true
		}
	}
	if len(delays) < 8 {
		t.Errorf("%d were refused, or all with the same delay: %v", len(delays), delays)
	}
	close(box.hold)
	delivering.Wait()
}

func TestTooManyBatches(t *testing.T) {
	w, box := newWorld(t), newMemory()
	box.hold = make(chan struct{})
	address := w.serve(NewHandler(box, Production(), WithBatches(1)))
	c := w.client("api-server", ClientConfig{}, address)
	first := make(chan ballotapi.Outcome)
	go func() {
		outcomes, _ := c.Cast(context.Background(), []ballotapi.Ballot{vote(1)})
		first <- outcomes[0]
	}()
	w.eventually("the first", func() bool { return box.seen() == 1 })
	o := w.cast(c, vote(2))[0]
	w.expect(o, problem.Overloaded)
	if problem.From(o.Err).RetryAfter < time.Second {
		t.Errorf("%#v", o.Err)
	}
	close(box.hold)
	w.expect(<-first, "")
}

func TestTakesOnlyWholeBatches(t *testing.T) {
	w, box := newWorld(t), newMemory()
	c := w.client("api-server", ClientConfig{}, w.serve(NewHandler(box, Production())))
	in := c.balancer.Pick()
	b := vote(1)
	good := appendBallot([]byte{1}, &b)
	for name, try := range map[string]struct {
		kind string
		body []byte
		want int
	}{
		"good":      {castType, good, 200},
		"cut":       {castType, good[:len(good)-1], 400},
		"more":      {castType, append(bytes.Clone(good), 0), 400},
		"none":      {castType, []byte{0}, 400},
		"empty":     {castType, nil, 400},
		"too many":  {castType, []byte{0xff, 0xff, 0x03}, 400},
		"other":     {"application/json", good, 415},
		"too large": {castType, make([]byte, maxBody+1), 413},
	} {
		before := box.seen()
		response, _, err := c.post(t.Context(), in, castPath, try.kind, try.body)
		w.ok(err)
		response.Body.Close()
		if response.StatusCode != try.want || (box.seen() > before) != (name == "good") {
			t.Errorf("%s: %s", name, response.Status)
		}
	}
}

// streamer is a box whose bundle the test writes.
type streamer struct {
	*memory
	write func(io.Writer) error
}

func (s *streamer) Bundle(_ context.Context, _ string, w io.Writer) error { return s.write(w) }

func TestTheBundleStreams(t *testing.T) {
	w := newWorld(t)
	box := &streamer{memory: newMemory()}
	c := w.client("api-server", ClientConfig{}, w.serve(NewHandler(box, Production())))
	part := bytes.Repeat([]byte("part"), 64<<10)
	arrived := make(chan struct{})
	box.write = func(to io.Writer) error {
		if _, err := to.Write(part); err != nil {
			return err
		}
		<-arrived // what was written is there before the rest is made
		_, err := to.Write([]byte("end"))
		return err
	}
	var got bytes.Buffer
	seen := sync.OnceFunc(func() { close(arrived) })
	w.ok(c.Bundle(t.Context(), "lunch", writerFunc(func(p []byte) (int, error) {
		seen()
		return got.Write(p)
	})))
	if got.Len() != len(part)+3 {
		t.Errorf("%d bytes", got.Len())
	}
	box.write = func(io.Writer) error { return problem.New(problem.ResultsNotPublished) }
	if err := c.Bundle(t.Context(), "lunch", io.Discard); problem.From(err).Code != problem.ResultsNotPublished {
		t.Error(err)
	}
	box.write = func(to io.Writer) error {
		_, _ = to.Write(part)
		return errInside
	}
	if err := c.Bundle(t.Context(), "lunch", io.Discard); err == nil {
		t.Error("half a bundle was taken for a whole one")
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestNobodyIsNamed looks for voters' tags in everything that is logged or returned when things fail.
func TestNobodyIsNamed(t *testing.T) {
	w := newWorld(t)
	log := new(servicetest.Output)
	logger := slog.New(slog.NewJSONHandler(log, nil))
	box := &failing{memory: newMemory()}
	b := vote(7)
	var said []string
	say := func(c *Client) {
		for _, o := range w.cast(c, b, b) {
			said = append(said, fmt.Sprintf("%v %+v", o.Err, o.Err))
		}
	}
	var dropped atomic.Int64
	say(w.client("api-server", ClientConfig{}, w.serve(NewHandler(box, Production(), WithLog(logger)))))
	say(w.client("sms-gateway", ClientConfig{}, w.serve(NewHandler(box, Production(), WithLog(logger)))))
	say(w.client("api-server", ClientConfig{}, w.serve(dropper(&dropped))))
	say(w.client("api-server", ClientConfig{}, w.nowhere()))
	everything := log.String() + strings.Join(said, "\n")
	if !strings.Contains(everything, errInside.Error()) || !strings.Contains(everything, "sms-gateway") {
		t.Fatalf("what should be in the log is not: %s", everything)
	}
	for _, form := range []string{
		string(b.Voter[:]), hex.EncodeToString(b.Voter[:]), base64.StdEncoding.EncodeToString(b.Voter[:30]),
		base64.URLEncoding.EncodeToString(b.Voter[:30]), fmt.Sprint(b.Voter[:4]), b.Key,
	} {
		if strings.Contains(everything, strings.Trim(form, "[]")) {
			t.Errorf("a voter is named as %q", form)
		}
	}
}

// failing is a box whose casts fail for a reason of its own.
type failing struct{ *memory }

func (*failing) Cast(_ context.Context, ballots []ballotapi.Ballot) ([]ballotapi.Outcome, error) {
	outcomes := make([]ballotapi.Outcome, len(ballots))
	for i := range outcomes {
		outcomes[i].Err = problem.Wrap(problem.Unavailable, fmt.Errorf("%w with %v", errInside, ballots[i].Voter))
	}
	return outcomes, nil
}

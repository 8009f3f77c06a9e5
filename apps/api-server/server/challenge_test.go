package server

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/api-server/toll"
	"github.com/popvote/popvote/libs/challenge"
	"github.com/popvote/popvote/libs/problem"
)

const (
	farm  = "203.0.113.7:1"
	house = "198.51.100.7:1"
)

func from(address string) option { return func(r *http.Request) { r.RemoteAddr = address } }

// challenge fetches one as somebody in a network does.
func (w *world) challenge(address string) challenge.Challenge {
	w.t.Helper()
	return read[challenge.Challenge](w.t, w.call("GET", "/v1/challenge", nil, from(address)), http.StatusOK)
}

func work(c challenge.Challenge) int {
	return challenge.Puzzle{Iterations: c.Parameters.Cost, Zeros: len(c.Parameters.KeyPrefix)}.Work()
}

// beginFrom asks for a session with a challenge as it is given.
func (w *world) beginFrom(address string, c challenge.Challenge) reply {
	w.t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		w.t.Fatal(err)
	}
	payload, err := challenge.Solve(context.Background(), text)
	if err != nil {
		w.t.Fatal(err)
	}
	p := w.someone()
	body := object{"identity": object{"type": "hkid", "number": p.hkid}, "phone": p.phone, "challenge": payload}
	return w.call("POST", sessionsPath, body, from(address))
}

const littleWork = 16

// little is a world in which sessions cost a little work.
func little(t *testing.T) *world {
	t.Helper()
	return newWorld(t, func(w *world) { w.config.ChallengeCost = littleWork })
}

// bots begin sessions from a network, which nobody verifies.
func (w *world) bots() *world {
	w.t.Helper()
	for range 150 {
		if got := w.beginFrom(farm, w.challenge(farm)); got.status != http.StatusCreated {
			w.t.Fatalf("%d %s", got.status, got.body)
		}
	}
	w.clock.advance(3 * time.Minute)
	return w
}

// TestABotNetworksChallengesGetDearer, and nobody else's; it is refused nothing, and it passes.
func TestABotNetworksChallengesGetDearer(t *testing.T) {
	w := little(t).bots()
	usual := challenge.Usual(littleWork).Work()
	if got := work(w.challenge(farm)); got != usual*toll.Highest.Times() {
		t.Errorf("the bots' work is %d, want %d", got, usual*toll.Highest.Times())
	}
	if got := work(w.challenge(house)); got != usual {
		t.Errorf("everybody's work is %d, want %d", got, usual)
	}
	if got := w.beginFrom(farm, w.challenge(farm)); got.status != http.StatusCreated {
		t.Errorf("who does the work: %d %s", got.status, got.body)
	}
	for metric, want := range map[string]float64{
		"popvote_api_challenge_work": float64(usual), `popvote_api_challenge_networks times=8`: 1, `popvote_api_challenge_networks times=2`: 0,
		`popvote_api_challenges_total times=8`: 2, `popvote_api_challenges_total times=1`: 151,
	} {
		if got := w.metric(metric); got != want {
			t.Errorf("%s is %v, want %v", metric, got, want)
		}
	}
	w.clock.advance(time.Hour)
	if got := work(w.challenge(farm)); got != usual {
		t.Errorf("an hour later the bots' work is %d, want %d", got, usual)
	}
}

// metric reads one, by its name and its one label.
func (w *world) metric(name string) float64 {
	w.t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			full := f.GetName()
			for _, l := range m.GetLabel() {
				full += " " + l.GetName() + "=" + l.GetValue()
			}
			if full == name {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	w.t.Fatalf("there is no metric %s", name)
	return 0
}

// TestASolutionOfLessWorkIsRefused: what a challenge costs is in its signature, and one that was set for another
// network is worth no more than it costs.
func TestASolutionOfLessWorkIsRefused(t *testing.T) {
	w := little(t)
	early := w.challenge(farm)
	w.bots()
	refused := func(what string, got reply) {
		t.Helper()
		if got.status != http.StatusForbidden || string(got.problem(t).Code) != string(problem.ChallengeInvalid) {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
	}
	cheaper := w.challenge(farm)
	cheaper.Parameters.Cost = littleWork
	refused("a lower cost", w.beginFrom(farm, cheaper))
	shorter := w.challenge(farm)
	shorter.Parameters.KeyPrefix = ""
	refused("fewer tries", w.beginFrom(farm, shorter))
	refused("a neighbour's", w.beginFrom(farm, w.challenge(house)))

	taken := func(what string, got reply) {
		t.Helper()
		if got.status != http.StatusCreated {
			t.Errorf("%s: %d %s", what, got.status, got.body)
		}
	}
	taken("its own, set before it was raised", w.beginFrom(farm, early))
	taken("its own", w.beginFrom(farm, w.challenge(farm)))
	taken("a dear one, by who moved elsewhere", w.beginFrom(house, w.challenge(farm)))
	taken("a cheap one, by who moved where nothing is dearer", w.beginFrom("192.0.2.7:1", w.challenge(house)))
}

// TestTheMostIsSet: where it is 1 all pay the same, whatever they do.
func TestTheMostIsSet(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.ChallengeCost, w.config.ChallengeMost = littleWork, 1 }).bots()
	if got := work(w.challenge(farm)); got != challenge.Usual(littleWork).Work() {
		t.Errorf("the work is %d", got)
	}
	config := w.config
	for _, most := range []int{3, 16, -1} {
		config.ChallengeMost = most
		if s, err := New(context.Background(), config, w.server.deps); err == nil {
			s.Close()
			t.Errorf("%d is taken", most)
		}
	}
}

// TestABusyServersChallengesGetDearer for everybody.
func TestABusyServersChallengesGetDearer(t *testing.T) {
	w := newWorld(t, func(w *world) { w.config.ChallengeCost, w.config.AdmissionRate = littleWork, 2 })
	for range 60 {
		w.clock.advance(time.Second / 2)
		w.beginFrom(farm, w.challenge(farm))
	}
	if got, want := work(w.challenge(house)), 4*challenge.Usual(littleWork).Work(); got != want {
		t.Errorf("the work is %d, want %d", got, want)
	}
}

// TestACastTooFastForPeopleIsCounted, and is a vote all the same.
func TestACastTooFastForPeopleIsCounted(t *testing.T) {
	w := newWorld(t)
	for i, after := range []time.Duration{0, toll.TooFast + time.Second, time.Minute} {
		token := w.verify(w.someone())
		w.clock.advance(after)
		if got := w.cast(token, someKey+strconv.Itoa(i), w.sealed(sends)); got.status != http.StatusCreated {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	if got := w.metric("popvote_api_hurried_total"); got != 1 {
		t.Errorf("%v of three ballots were cast too fast, want 1", got)
	}
}

// TestWrongSolutionsAndImpossibleNumbersAreHeldAgainstTheirNetwork: by one step, since they cost nothing.
func TestWrongSolutionsAndImpossibleNumbersAreHeldAgainstTheirNetwork(t *testing.T) {
	for what, change := range map[string]func(object){
		"numbers":   func(body object) { body["identity"] = object{"type": "hkid", "number": "A123456(4)"} },
		"solutions": func(body object) { body["challenge"] = "bm90aGluZw==" },
	} {
		w := little(t)
		body := w.sessionBody(w.someone())
		change(body)
		for range 50 {
			if got := w.call("POST", sessionsPath, body, from(farm)); got.status < 400 || got.status > 499 {
				t.Fatalf("%s: %d %s", what, got.status, got.body)
			}
		}
		if got, want := work(w.challenge(farm)), 2*challenge.Usual(littleWork).Work(); got != want {
			t.Errorf("%s: the work is %d, want %d", what, got, want)
		}
	}
}

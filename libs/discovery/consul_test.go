package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/popvote/popvote/libs/consultest"
	"github.com/popvote/popvote/libs/service/servicetest"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// clock is the time, moved on by hand.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) forward(d time.Duration) { c.ahead.Add(int64(d)) }

// site is a Consul that is followed, and what it logs.
type site struct {
	*Consul
	t     *testing.T
	clock *clock
	log   *servicetest.Output
	end   func() // ends following, and waits for it
}

func follow(t *testing.T, cfg ConsulConfig, change func(*Consul)) *site {
	t.Helper()
	s := &site{t: t, clock: new(clock), log: new(servicetest.Output)}
	var err error
	s.Consul, err = NewConsul(cfg, ConsulDeps{Clock: s.clock.now, Log: slog.New(slog.NewTextHandler(s.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	// A frozen agent must not take a minute to be noticed here.
	s.waitTime, s.answerTime = 500*time.Millisecond, time.Second
	if change != nil {
		change(s.Consul)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Follow(ctx)
	}()
	s.end = func() {
		cancel()
		<-ended
	}
	t.Cleanup(s.end)
	return s
}

func (s *site) found(service string) string {
	var all []string
	for _, in := range s.Find(service) {
		all = append(all, strings.TrimSuffix(in.Address+"@"+in.Cloud, "@"))
	}
	return strings.Join(all, " ")
}

// eventually waits for what must come, and does not wait for ever.
func (s *site) eventually(what string, is func() bool) {
	s.t.Helper()
	for range 3000 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatalf("it never came: %s; the log:\n%s", what, s.log)
}

// becomes waits for a set.
func (s *site) becomes(service, want string) {
	s.t.Helper()
	for range 3000 {
		if s.found(service) == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.t.Fatalf("%s is %q, and never became %q; the log:\n%s", service, s.found(service), want, s.log)
}

func (s *site) says(line string) {
	s.t.Helper()
	s.eventually("the line "+line, func() bool { return strings.Contains(s.log.String(), line) })
}

func (s *site) failures() (n int64) {
	for _, watches := range s.watches {
		for _, w := range watches {
			n += w.failures.Load()
		}
	}
	return n
}

func ballots(agent *consultest.Agent) ConsulConfig {
	return ConsulConfig{Address: agent.Addr(), Services: []string{"ballot-server"}}
}

func register(agent *consultest.Agent, port int, more func(*api.AgentServiceRegistration)) {
	s := &api.AgentServiceRegistration{ID: fmt.Sprint(port), Name: "ballot-server", Address: "10.0.0.1", Port: port}
	if more != nil {
		more(s)
	}
	agent.Register(s)
}

func TestWhatIsFound(t *testing.T) {
	agent := consultest.StartWith(t, consultest.Config{Cloud: "of-the-node"})[0]
	s := follow(t, ConsulConfig{Address: agent.Addr(), Services: []string{"ballot-server", "popvote-db", "primary.popvote-db"}}, nil)
	if got := s.found("ballot-server"); got != "" {
		t.Errorf("in the beginning there is %s", got)
	}
	register(agent, 1, func(s *api.AgentServiceRegistration) { s.Meta = map[string]string{"cloud": "its-own"} })
	s.becomes("ballot-server", "10.0.0.1:1@its-own")
	register(agent, 2, func(s *api.AgentServiceRegistration) { s.Address = "" }) // the node's
	s.becomes("ballot-server", "10.0.0.1:1@its-own 127.0.0.1:2@of-the-node")
	register(agent, 3, func(s *api.AgentServiceRegistration) { s.Tags = []string{"canary"} })
	register(agent, 4, func(s *api.AgentServiceRegistration) {
		s.Check = &api.AgentServiceCheck{TTL: "1h", Status: api.HealthCritical, CheckID: "four"}
	})
	register(agent, 5, func(s *api.AgentServiceRegistration) { s.ID = "5 again" })
	register(agent, 5, func(s *api.AgentServiceRegistration) { s.Address = "fd00::1" })
	register(agent, 5, nil)
	s.becomes("ballot-server", "10.0.0.1:1@its-own 10.0.0.1:5@of-the-node 127.0.0.1:2@of-the-node")
	if err := agent.Client().Agent().UpdateTTL("four", "", api.HealthPassing); err != nil {
		t.Fatal(err)
	}
	agent.Deregister("2")
	s.becomes("ballot-server", "10.0.0.1:1@its-own 10.0.0.1:4@of-the-node 10.0.0.1:5@of-the-node")

	// The database's leader is the one with the tag, wherever it goes.
	db := func(port int, tag string) {
		agent.Register(&api.AgentServiceRegistration{ID: fmt.Sprint("db", port), Name: "popvote-db", Port: port, Tags: []string{tag}})
	}
	db(5432, "primary")
	db(5433, "replica")
	s.becomes("primary.popvote-db", "127.0.0.1:5432@of-the-node")
	s.becomes("popvote-db", "127.0.0.1:5432@of-the-node 127.0.0.1:5433@of-the-node")
	db(5432, "replica")
	db(5433, "primary")
	s.becomes("primary.popvote-db", "127.0.0.1:5433@of-the-node")

	s.Find("ballot-server")[0].Address = "changed by the one who asked"
	if got := s.Find("ballot-server")[0].Address; got != "10.0.0.1:1" {
		t.Errorf("the address became %q", got)
	}
	if got := s.Find("api-server"); got != nil {
		t.Errorf("what was not asked for is there: %v", got)
	}
	// Neither a change nor the end of a wait without one is a failure.
	asked := func() time.Time { return s.watches["ballot-server"][0].seen.Load().answered }
	last := asked()
	s.eventually("another answer", func() bool { return asked().After(last) })
	if n := s.failures(); n != 0 || s.Check(t.Context()) != nil {
		t.Errorf("%d questions were not answered: %v\n%s", n, s.Check(t.Context()), s.log)
	}
}

// TestTheAgentIsKilled: what was found stays, also for hours, and what is new is found when the agent is
// back, without what it knew.
func TestTheAgentIsKilled(t *testing.T) {
	agent := consultest.Start(t)
	s := follow(t, ballots(agent), nil)
	register(agent, 1, nil)
	s.becomes("ballot-server", "10.0.0.1:1")
	agent.Kill()
	s.says("Consul does not answer")
	s.clock.forward(5 * time.Hour)
	if got := s.found("ballot-server"); got != "10.0.0.1:1" {
		t.Errorf("without Consul there is %q", got)
	}
	if err := testutil.CollectAndCompare(s, strings.NewReader(`
		# HELP popvote_discovery_instances Instances last seen in Consul and kept, of each datacenter.
		# TYPE popvote_discovery_instances gauge
		popvote_discovery_instances{datacenter="",service="ballot-server"} 1
	`), "popvote_discovery_instances"); err != nil {
		t.Error(err)
	}
	if age := s.age(); age < 5*time.Hour.Seconds() {
		t.Errorf("the last answer is %v s old", age)
	}
	failed := s.failures()
	s.eventually("another try", func() bool { return s.failures() > failed })
	if n := strings.Count(s.log.String(), "Consul does not answer"); n != 1 {
		t.Errorf("it says %d times that Consul does not answer", n)
	}

	// Not the index of before: Consul would have it wait for a long time. The wait is therefore the real one.
	agent.RestartEmpty()
	s.says("Consul answers again")
	s.says("no instance any more")
	if got := s.found("ballot-server"); got != "10.0.0.1:1" {
		t.Errorf("with an empty catalogue there is %q", got)
	}
	register(agent, 2, nil)
	s.becomes("ballot-server", "10.0.0.1:2")
	if age := s.age(); age > 60 {
		t.Errorf("the last answer is %v s old", age)
	}
	agent.Deregister("2")
	s.eventually("the end", func() bool { return !s.watches["ballot-server"][0].seen.Load().emptied.IsZero() })
	if got := s.found("ballot-server"); got != "10.0.0.1:2" {
		t.Errorf("just after the last one left there is %q", got)
	}
	s.clock.forward(keepEmptied)
	if got := s.found("ballot-server"); got != "" {
		t.Errorf("long after the last one left there is %q", got)
	}
	problems, err := testutil.CollectAndLint(s)
	if err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

// age is the only one there is.
func (s *site) age() float64 {
	s.t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s)
	families, err := registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "popvote_discovery_age_seconds" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	s.t.Fatal("there is no age")
	return 0
}

// TestAnOldIndexIsNotWaitedFor: an agent that begins anew holds a question with an index of its future
// until the time is over, and whoever asks so learns nothing for a minute.
func TestAnOldIndexIsNotWaitedFor(t *testing.T) {
	agent := consultest.Start(t)
	for port := range 20 { // so that the index is far ahead of a new catalogue's
		register(agent, 100+port, nil)
	}
	s := follow(t, ballots(agent), func(c *Consul) { c.waitTime, c.answerTime = waitTime, answerTime })
	s.eventually("all instances", func() bool { return len(s.Find("ballot-server")) == 20 })
	agent.RestartEmpty()
	register(agent, 1, nil)
	s.becomes("ballot-server", "10.0.0.1:1") // within 30 s, less than the 55 s that a question is held
}

// TestTheAgentIsFrozen: its connections stay open and nobody answers, so the watch needs a deadline.
func TestTheAgentIsFrozen(t *testing.T) {
	agent := consultest.Start(t)
	s := follow(t, ballots(agent), nil)
	register(agent, 1, nil)
	s.becomes("ballot-server", "10.0.0.1:1")
	agent.Stop()
	s.says("Consul does not answer")
	if got := s.found("ballot-server"); got != "10.0.0.1:1" {
		t.Errorf("with a frozen Consul there is %q", got)
	}
	agent.Continue()
	register(agent, 2, nil)
	s.becomes("ballot-server", "10.0.0.1:1 10.0.0.1:2")
}

// TestTwoDatacenters: the first that has instances and answers.
func TestTwoDatacenters(t *testing.T) {
	near := consultest.Start(t)
	far := consultest.StartWith(t, consultest.Config{Datacenter: "dc2", Beside: near})[0]
	register(near, 1, nil)
	register(far, 2, nil)
	cfg := ballots(near)
	cfg.Datacenters = []string{"dc2", "dc1"}
	s := follow(t, cfg, nil)
	s.becomes("ballot-server", "10.0.0.1:2")
	s.eventually("the other one", func() bool { return len(s.watches["ballot-server"][1].seen.Load().instances) == 1 })
	far.Kill()
	s.says("Consul does not answer")
	if got := s.found("ballot-server"); got != "10.0.0.1:2" {
		t.Errorf("just after the first failed: %q", got)
	}
	s.clock.forward(skipFailing)
	s.becomes("ballot-server", "10.0.0.1:1")
	near.Deregister("1")
	s.becomes("ballot-server", "10.0.0.1:2") // nothing else is left
	register(near, 1, nil)
	s.becomes("ballot-server", "10.0.0.1:1")
	far.Restart()
	s.becomes("ballot-server", "10.0.0.1:2")
	far.Deregister("2")
	s.becomes("ballot-server", "10.0.0.1:1") // an empty one keeps no other waiting
}

func TestEverythingEndsWithItsContext(t *testing.T) {
	agent := consultest.Start(t)
	// A question is held for a minute, and another watch waits before it tries again.
	cfg := ballots(agent)
	cfg.Datacenters = []string{"", "nowhere"}
	s := follow(t, cfg, func(c *Consul) { c.waitTime, c.answerTime = waitTime, answerTime })
	register(agent, 1, nil)
	s.becomes("ballot-server", "10.0.0.1:1")
	s.says("Consul does not answer")
	s.end() // or the test hangs
}

// scripted is an agent that answers what a test wants; it keeps the indices it was asked with.
type scripted struct {
	asked  chan string
	answer chan func(http.ResponseWriter)
}

func script(t *testing.T) (*scripted, string) {
	s := &scripted{asked: make(chan string, 100), answer: make(chan func(http.ResponseWriter))}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked <- r.URL.Query().Get("index") + " " + r.Header.Get("X-Consul-Token")
		select {
		case f := <-s.answer:
			f(w)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	return s, strings.TrimPrefix(server.URL, "http://")
}

// says is an answer with an index and as many instances; a leader is known.
func says(index, instances int) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("X-Consul-Index", fmt.Sprint(index))
		w.Header().Set("X-Consul-KnownLeader", "true")
		w.Header().Set("X-Consul-LastContact", "0")
		tell(w, instances)
	}
}

func tell(w http.ResponseWriter, instances int) {
	var all []string
	for i := range instances {
		all = append(all, fmt.Sprintf(`{"Node":{"Address":"10.0.0.1"},"Service":{"Port":%d}}`, i+1))
	}
	fmt.Fprintf(w, "[%s]", strings.Join(all, ","))
}

// TestIndicesAndFailures plays answers that a real agent gives rarely.
func TestIndicesAndFailures(t *testing.T) {
	agent, address := script(t)
	token := filepath.Join(t.TempDir(), "token")
	write := func(content string) {
		if err := os.WriteFile(token, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first\n")
	s := follow(t, ConsulConfig{Address: address, Services: []string{"ballot-server"}, TokenFile: token}, func(c *Consul) {
		c.waitTime, c.answerTime = waitTime, answerTime
	})
	noLeader := func(instances int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("X-Consul-Index", "9")
			w.Header().Set("X-Consul-KnownLeader", "false")
			w.Header().Set("X-Consul-LastContact", "0")
			tell(w, instances)
		}
	}
	broken := func(w http.ResponseWriter) { w.WriteHeader(http.StatusInternalServerError) }
	cut := func(w http.ResponseWriter) {
		w.Header().Set("X-Consul-Index", "99")
		_, _ = w.Write([]byte(`[{"Node":`))
	}
	for i, step := range []struct {
		asked  string // before the answer
		answer func(http.ResponseWriter)
		found  int // after it
	}{
		{" first", says(0, 1), 1},
		{"1 first", says(7, 2), 2},
		{"7 first", says(7, 2), 2}, // nothing is new
		{"7 first", says(3, 1), 1}, // backwards
		{" first", says(4, 2), 2},
		{"4 first", broken, 2},
		{" second", says(5, 3), 3},
		{"5 second", cut, 3},
		{" second", says(6, 2), 2},
		{"6 second", noLeader(0), 2},
		{" second", noLeader(1), 2},
		{" second", says(8, 1), 1},
		{"8 second", says(9, 0), 1}, // kept for a while
	} {
		s.clock.forward(time.Minute) // which spares the test the pace of the questions
		if got := <-agent.asked; got != step.asked {
			t.Fatalf("question %d has index and token %q, want %q", i, got, step.asked)
		}
		if i == 5 {
			write("second")
		}
		before := s.watches["ballot-server"][0].seen.Load()
		agent.answer <- step.answer
		s.eventually(fmt.Sprint("the effect of answer ", i), func() bool { return s.watches["ballot-server"][0].seen.Load() != before || len(agent.asked) > 0 })
		if got := len(s.watches["ballot-server"][0].seen.Load().instances); got != step.found {
			t.Errorf("after answer %d there are %d instances, want %d", i, got, step.found)
		}
	}
	if got := <-agent.asked; got != "9 second" {
		t.Errorf("the last question is %q", got)
	}
}

// TestAServiceThatChangesAllTheTime is asked for once a second after the first few.
func TestAServiceThatChangesAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*pace+pace/2)
		defer cancel()
		w := &watch{consul: &Consul{clock: time.Now}}
		asked := 0
		for w.pace(ctx) {
			asked++
		}
		if asked != burst+10 {
			t.Errorf("%d questions in %v", asked, 10*pace)
		}
	})
}

func TestBackOff(t *testing.T) {
	var seen []time.Duration
	for failed := range 100 {
		d := backOff(failed)
		if least := min(backOffMost, backOffFirst<<min(failed, 10)) / 2; d < least || d > 2*least {
			t.Errorf("after %d failures it waits %v", failed, d)
		}
		seen = append(seen, d)
	}
	slices.Sort(seen)
	if len(slices.Compact(seen)) < 90 {
		t.Error("they would all come at the same moments")
	}
}

func TestConsulRefusesWhatItCannotAsk(t *testing.T) {
	deps := ConsulDeps{Clock: time.Now, Log: slog.New(slog.DiscardHandler)}
	for what, cfg := range map[string]ConsulConfig{
		"no address":   {Services: []string{"redis"}},
		"no service":   {Address: "127.0.0.1:1"},
		"twice":        {Address: "127.0.0.1:1", Services: []string{"redis", "redis"}},
		"no name":      {Address: "127.0.0.1:1", Services: []string{"primary."}},
		"no tag":       {Address: "127.0.0.1:1", Services: []string{".redis"}},
		"no such file": {Address: "127.0.0.1:1", Services: []string{"redis"}, TokenFile: filepath.Join(t.TempDir(), "none")},
	} {
		if _, err := NewConsul(cfg, deps); err == nil {
			t.Errorf("%s: it was taken", what)
		}
	}
}

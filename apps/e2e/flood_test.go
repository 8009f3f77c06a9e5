package e2e_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"github.com/popvote/popvote/apps/e2e/apart"
	"github.com/popvote/popvote/apps/e2e/voter"
	"github.com/popvote/popvote/libs/challenge"
	"github.com/popvote/popvote/libs/hostile"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/pgcluster"
	"github.com/popvote/popvote/libs/service/servicetest"
)

const (
	// honestPace is how many voters come in a second, each with some four requests, and junkPace how many
	// requests of junk while they do: twenty for each of theirs.
	honestPace = 10
	junkPace   = 20 * 4 * honestPace
	// mostMemory is by how much a flood may make an API server grow, bytes.
	mostMemory = 96 << 20
)

// TestJunkFlood: the real programs under a flood of what is invalid. First as much of it as one machine can
// send and answer: nothing of it gets to the ballot server, to Redis or into a query, each by its own count,
// and the API server doesn't grow. Then in turns with calm, while people vote: what they wait is reported, and
// with FLOOD_TIME, which makes it long enough to say something, held to twice what it is in calm.
func TestJunkFlood(t *testing.T) {
	lasts, long := 3*time.Second, false
	if s := os.Getenv("FLOOD_TIME"); s != "" {
		var err error
		if lasts, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
		long = true
	}
	s := site(t, apart.Options{Postgres: &pgcluster.Options{}, APIs: 1, Polls: []string{referendum}, LogLevel: "info"})
	f := newFlood(t, s)
	f.costsNothing(lasts)
	f.leavesVotersAlone(lasts, long)
}

// flood is junk on its way to a site's one API server.
type flood struct {
	t *testing.T
	s *apart.Site
	w *voter.World
	// texts and verified are a real voter's tokens, of the second and the third step; challenge is one that
	// nobody has solved, and stale are solved ones of yesterday.
	texts, verified string
	challenge       json.RawMessage
	stale           []string
	scanners        []hostile.Request
	people          int
}

func newFlood(t *testing.T, s *apart.Site) *flood {
	t.Helper()
	f := &flood{t: t, s: s, w: s.Voters(t.Context(), s.APIs[0], referendum), scanners: hostile.Requests()}
	session, err := f.w.Identify(t.Context(), f.person())
	if err != nil {
		t.Fatal(err)
	}
	f.texts = session.AccessToken
	if f.verified, err = verified(t.Context(), f.w, f.person()); err != nil {
		t.Fatal(err)
	}
	if f.challenge, err = f.w.Challenge(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.stale = f.challengesOf(time.Now().Add(-24*time.Hour), 64)
	if _, err := f.w.Begin(t.Context(), f.person(), f.stale[0]); problemCode(err) != "challenge-expired" {
		t.Fatalf("yesterday's challenge: %v", err)
	}
	if _, err := f.w.Begin(t.Context(), f.person(), f.challengesOf(time.Now(), 1)[0]); err != nil {
		t.Fatalf("the same, set now: %v", err)
	}
	return f
}

// challengesOf are challenges that the installation set at a time, solved: every server with its keys sets such, so
// one that has them and that time does.
func (f *flood) challengesOf(then time.Time, n int) []string {
	f.t.Helper()
	keys, err := keyring.OpenFile(filepath.Join(f.s.Data, "keys.json"), time.Now)
	if err != nil {
		f.t.Fatal(err)
	}
	secret, err := keys.Secret(f.t.Context(), keyring.Challenges, "")
	if err != nil {
		f.t.Fatal(err)
	}
	issuer := challenge.NewIssuer(secret, func() time.Time { return then })
	solved := make([]string, n)
	for i := range solved {
		issued, err := json.Marshal(issuer.Issue(1))
		if err != nil {
			f.t.Fatal(err)
		}
		if solved[i], err = challenge.Solve(f.t.Context(), issued); err != nil {
			f.t.Fatal(err)
		}
	}
	return solved
}

func (f *flood) person() voter.Person {
	f.people++
	return voter.NewPerson(950+f.people/1000, f.people%1000)
}

// junk is a request that no two are alike of. It is called by many at once.
func (f *flood) junk(to *vegeta.Target) error {
	*to = vegeta.Target{Method: http.MethodPost, Header: http.Header{"Content-Type": {"application/json"}}}
	at := func(path string) { to.URL = f.w.Origin + path }
	token := func(token string) { to.Header.Set("Authorization", "Bearer "+token) }
	body := func(text string) { to.Body = []byte(text) }
	session := func(challenge string) {
		at("/v1/polls/" + referendum + "/sessions")
		body(fmt.Sprintf(`{"identity":{"type":"hkid","number":"A123456(3)"},"phone":"+85291%06d","challenge":"%s"}`, rand.N(1_000_000), challenge))
	}
	some := make([]byte, 300)
	for i := range some {
		some[i] = byte(rand.Uint32())
	}
	chance := base64.RawURLEncoding.EncodeToString(some)
	switch rand.N(11) {
	case 0:
		to.Method = http.MethodGet
		at("/v1/verification")
		token(chance)
	case 1: // a real token, forged in one place
		at("/v1/ballots")
		n := rand.N(len(f.verified) - 50)
		token(f.verified[:n] + chance[:8] + f.verified[n+8:])
		to.Header.Set("Idempotency-Key", chance[:20])
		body(`{"sealed":"` + chance + `"}`)
	case 2: // a real token of another step
		at("/v1/ballots")
		token(f.texts)
		to.Header.Set("Idempotency-Key", chance[:20])
		body(`{"sealed":"` + chance + `"}`)
	case 3: // a real token with what is no ballot
		at("/v1/ballots")
		token(f.verified)
		to.Header.Set("Idempotency-Key", chance[:20])
		body(`{"sealed":"` + chance + `"}`)
	case 4:
		at("/v1/polls/" + referendum + "/sessions")
		body(`{"identity":{"type":"hkid","number":"` + chance[:200])
	case 5: // a real challenge that nobody has solved
		session(base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"challenge":%s,"solution":{"counter":%d,"derivedKey":"ff%062d"}}`, f.challenge, rand.Uint32(), 0)))
	case 6: // a solved one of yesterday
		session(f.stale[rand.N(len(f.stale))])
	case 7: // one that was changed: not so old any more
		stale := strings.Replace(string(f.challenge), `"expiresAt":`, `"expiresAt":9`, 1)
		session(base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"challenge":%s,"solution":{"counter":%d,"derivedKey":"00"}}`, stale, rand.Uint32())))
	case 8:
		to.Method = http.MethodGet
		at("/v1/polls/" + strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(chance[:20])) + "/turnout")
	case 9:
		to.Method = http.MethodGet
		at("/v1/" + chance[:30])
	default:
		one := f.scanners[rand.N(len(f.scanners))]
		to.Method, to.Header = one.Method, one.Header
		at(one.Target)
		body(one.Body)
	}
	return nil
}

// attack sends junk, so many requests a second or, if that is 0, as many as can be sent and answered, and
// expects each to be refused.
func (f *flood) attack(pace int, lasts time.Duration) *vegeta.Metrics {
	f.t.Helper()
	attacker := vegeta.NewAttacker(vegeta.Workers(32), vegeta.MaxWorkers(64), vegeta.Connections(64), vegeta.HTTP2(false), vegeta.Timeout(20*time.Second), vegeta.MaxBody(0))
	var m vegeta.Metrics
	for result := range attacker.Attack(f.junk, vegeta.Rate{Freq: pace, Per: time.Second}, lasts, "junk") {
		m.Add(result)
	}
	m.Close()
	for status, n := range m.StatusCodes {
		if !strings.HasPrefix(status, "4") {
			f.t.Errorf("%d requests of junk were answered %s: %.300q", n, status, m.Errors)
		}
	}
	f.t.Logf("junk: %d requests, %.0f a second; p99 %v; %v", m.Requests, m.Rate, m.Latencies.P99.Round(time.Millisecond), m.StatusCodes)
	return &m
}

// counts are what everybody behind the API server has been asked.
type counts struct{ box, queries, redis float64 }

func (c counts) since(before counts) counts {
	return counts{c.box - before.box, c.queries - before.queries, c.redis - before.redis}
}

// counts waits until all that was asked has been counted: PostgreSQL's processes say it after a second.
func (f *flood) counts() counts {
	f.t.Helper()
	time.Sleep(1500 * time.Millisecond)
	// Asked in another database, so that asking is not counted.
	queries, err := f.s.Database.Primary().SQL("postgres", "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'popvote'")
	if err != nil {
		f.t.Fatal(err)
	}
	n, err := strconv.ParseFloat(queries, 64)
	if err != nil {
		f.t.Fatal(err)
	}
	return counts{figure(f.t, f.s.Ballots[0], "popvote_hop_served_requests_total"), n, redisCommands(f.t, f.s.Redis.Addr())}
}

// figure is a metric of a program's.
func figure(t *testing.T, p *apart.Program, name string) float64 {
	t.Helper()
	_, page := servicetest.Get(t, "http://"+p.At["admin"]+"/metrics")
	for line := range strings.Lines(page) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// redisCommands counts what a Redis has been asked, but for this and for probing.
func redisCommands(t *testing.T, address string) (n float64) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := io.WriteString(conn, "INFO commandstats\r\n"); err != nil {
		t.Fatal(err)
	}
	answer := bufio.NewReader(conn)
	head, err := answer.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	size, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(head, "$")))
	if err != nil {
		t.Fatal(err)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(answer, text); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":calls=")
		calls, _, found := strings.Cut(rest, ",")
		if !found || name == "cmdstat_info" || name == "cmdstat_ping" {
			continue
		}
		asked, err := strconv.ParseFloat(calls, 64)
		if err != nil {
			t.Fatal(err)
		}
		n += asked
	}
	return n
}

// costsNothing floods as hard as it can, and counts as long without.
func (f *flood) costsNothing(lasts time.Duration) {
	f.t.Helper()
	before := f.counts()
	time.Sleep(lasts)
	after := f.counts()
	idle := after.since(before)

	calm := figure(f.t, f.s.APIs[0], "process_resident_memory_bytes")
	most := f.watchMemory()
	began := time.Now()
	m := f.attack(0, lasts)
	flooded := f.counts().since(after)
	// It may have taken longer than it was to: what goes on by itself went on, too.
	longer := float64(time.Since(began)) / float64(lasts+1500*time.Millisecond)
	grown := most() - calm
	f.t.Logf("in calm, and under %d requests: the ballot server was asked %.0f and %.0f times, the database %.0f and %.0f, Redis %.0f and %.0f; the API server grew by %.1f MB from %.1f",
		m.Requests, idle.box, flooded.box, idle.queries, flooded.queries, idle.redis, flooded.redis, grown/(1<<20), calm/(1<<20))
	for _, one := range []struct {
		who           string
		idle, flooded float64
	}{{"the ballot server", idle.box, flooded.box}, {"the database", idle.queries, flooded.queries}, {"Redis", idle.redis, flooded.redis}} {
		// Timers tick once more or less in one window than in the other.
		if one.flooded > one.idle*longer*1.2+5 {
			f.t.Errorf("%s was asked %.0f times, and %.0f in calm", one.who, one.flooded, one.idle)
		}
	}
	if m.Requests < 500 {
		f.t.Errorf("%d requests prove little", m.Requests)
	}
	if grown > mostMemory {
		f.t.Errorf("the API server grew by %.0f MB", grown/(1<<20))
	}
}

// watchMemory looks at the API server's memory until it is asked for the most there was.
func (f *flood) watchMemory() (most func() float64) {
	ctx, stop := context.WithCancel(f.t.Context())
	seen := make(chan float64, 1)
	go func() {
		most := 0.0
		for tick := time.NewTicker(250 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				seen <- most
				return
			case <-tick.C:
				most = max(most, figure(f.t, f.s.APIs[0], "process_resident_memory_bytes"))
			}
		}
	}()
	return func() float64 {
		stop()
		return <-seen
	}
}

// leavesVotersAlone has people vote, in calm and under a flood by turns.
func (f *flood) leavesVotersAlone(lasts time.Duration, long bool) {
	f.t.Helper()
	h := record(f.t)
	rounds := 1
	if long {
		rounds = 6
	}
	round := lasts / time.Duration(rounds)
	f.vote(h, time.Second)            // connections are made, and pages read
	var calm, flooded []time.Duration // each round's p99
	for range rounds {
		calm = append(calm, quantile(f.vote(h, round), 0.99))
		var attack sync.WaitGroup
		attack.Go(func() { f.attack(junkPace, round) })
		flooded = append(flooded, quantile(f.vote(h, round), 0.99))
		attack.Wait()
	}
	// The median of the rounds: what else this machine does comes in bursts.
	usual, under := quantile(calm, 0.5), quantile(flooded, 0.5)
	ratio := float64(under) / float64(usual)
	f.t.Logf("%d people a second: p99 %v in calm (%v), and %v under %d requests of junk a second (%v): %.2f times as long",
		honestPace, usual, calm, under, junkPace, flooded, ratio)
	// Quantiles have sorted the rounds. Where calm is twice as bad as calm, something else is going on.
	if noisy := calm[len(calm)-1] > 2*calm[0]; long && noisy {
		f.t.Log("this machine is too busy with something else for that to say anything")
	} else if long && ratio > 2 {
		f.t.Errorf("under a flood voting takes %.2f times as long", ratio)
	}
	if report := h.closeApart(f.t, f.s, []*voter.World{f.w}); report.Voters != report.Box {
		f.t.Errorf("%d voters acknowledged, %d ballots", report.Voters, report.Box)
	}
}

// vote has people come for a while, and returns how long each took from the first request to the receipt.
func (f *flood) vote(h *history, lasts time.Duration) (took []time.Duration) {
	f.t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	pace := time.NewTicker(time.Second / honestPace)
	defer pace.Stop()
	for range int(lasts.Seconds() * honestPace) {
		<-pace.C
		p := f.person()
		all.Go(func() {
			began := time.Now()
			_, err := h.vote(f.t.Context(), f.w, p)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				f.t.Errorf("an honest voter: %v", err)
				return
			}
			took = append(took, time.Since(began))
		})
	}
	all.Wait()
	return took
}

// quantile rounds to what can be read.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(float64(len(all))*q))].Round(time.Millisecond)
}

package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/control-panel/server"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
)

// stream is one page that listens.
type stream struct {
	t      *testing.T
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

func (p *panel) listen(path string) *stream {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.http.URL+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.AddCookie(p.cookie)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { cancel(); _ = answer.Body.Close() })
	if kind := answer.Header.Get("Content-Type"); answer.StatusCode != http.StatusOK || kind != "text/event-stream" {
		p.t.Fatalf("got %d %s", answer.StatusCode, kind)
	}
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	return &stream{p.t, lines, cancel}
}

// next returns the data of the next event of a name, or false at the stream's end.
func (s *stream) next(name string) (map[string]any, bool) {
	s.t.Helper()
	for s.lines.Scan() {
		if s.lines.Text() != "event: "+name || !s.lines.Scan() {
			continue
		}
		var data map[string]any
		if err := json.Unmarshal([]byte(strings.TrimPrefix(s.lines.Text(), "data: ")), &data); err != nil {
			s.t.Fatal(err)
		}
		return data, true
	}
	return nil, false
}

func (s *stream) must(name string, until func(map[string]any) bool) map[string]any {
	s.t.Helper()
	for {
		data, ok := s.next(name)
		if !ok {
			s.t.Fatalf("the stream ended before the %s that was awaited", name)
		}
		if until(data) {
			return data
		}
	}
}

func minutesOf(data map[string]any) []any { return data["per_minute"].([]any) }

func TestAStreamSendsTheCurveOnceAndThenWhatIsNew(t *testing.T) {
	p := newPanel(t).logIn()
	p.elect("p", poll.Open)
	minute := p.clock.Now().Truncate(time.Minute)
	for i := range 600 {
		p.box.vote("p", minute.Add(time.Duration(i-600)*time.Minute), 2)
	}
	s := p.listen("/api/live?poll=p")
	first, _ := s.next("stats")
	if first["whole"] != true || len(minutesOf(first)) != 600 || first["total"] != 1200.0 {
		t.Fatalf("first: whole %v, %d minutes, total %v", first["whole"], len(minutesOf(first)), first["total"])
	}
	p.box.vote("p", minute, 5)
	beat := s.must("stats", func(d map[string]any) bool { return d["total"] == 1205.0 })
	if n := len(minutesOf(beat)); beat["whole"] != false || n > 4 {
		t.Errorf("a beat: whole %v, %d minutes", beat["whole"], n)
	}
	last := minutesOf(beat)[len(minutesOf(beat))-1].(map[string]any)
	if last["minute"] != minute.Format(time.RFC3339) || last["by_channel"].(map[string]any)["web"] != 5.0 {
		t.Errorf("the newest minute is %v", last)
	}
	// A minute that grows after the next has begun is sent again.
	p.box.mu.Lock()
	curve := p.box.polls["p"].stats.PerMinute
	curve[len(curve)-2].ByChannel = map[ballotapi.Channel]int64{ballotapi.Web: 3}
	p.box.mu.Unlock()
	s.must("stats", func(d map[string]any) bool {
		for _, m := range minutesOf(d) {
			if m.(map[string]any)["by_channel"].(map[string]any)["web"] == 3.0 {
				return true
			}
		}
		return false
	})
}

func TestManyWhoWatchCostOneReading(t *testing.T) {
	p := newPanel(t, func(c *server.Config) { c.StatsEvery = 50 * time.Millisecond }).logIn()
	p.elect("p", poll.Open)
	streams := make([]*stream, 30)
	for i := range streams {
		streams[i] = p.listen("/api/live?poll=p")
		streams[i].next("stats")
	}
	before, began := p.box.readings(), time.Now()
	for range 4 {
		for _, s := range streams {
			s.next("stats")
		}
	}
	beats := int(time.Since(began)/(50*time.Millisecond)) + 2
	if n := p.box.readings() - before; n > beats {
		t.Errorf("%d readings in %d beats", n, beats)
	}
	for _, s := range streams {
		s.cancel()
	}
	// Once nobody watches, nothing is read.
	eventually(t, "reading stops", func() bool {
		n := p.box.readings()
		time.Sleep(150 * time.Millisecond)
		return p.box.readings() == n
	})
}

func TestAStreamSaysWhenItsNumbersAreOld(t *testing.T) {
	p := newPanel(t).logIn()
	p.elect("p", poll.Open)
	s := p.listen("/api/live?poll=p")
	s.next("stats")
	p.box.setDown(true)
	stale := s.must("stale", func(map[string]any) bool { return true })
	if stale["since"] != p.clock.Now().Format(time.RFC3339) {
		t.Errorf("stale since %v", stale["since"])
	}
	overview := s.must("overview", func(d map[string]any) bool { return d["polls"] == nil })
	part := overview["parts"].([]any)[0].(map[string]any)
	if part["state"] != "down" || part["note"] == nil {
		t.Errorf("the ballot server is %v", part)
	}
	p.box.setDown(false)
	s.must("stats", func(map[string]any) bool { return true })
}

func TestAStreamShowsAChangeAtOnce(t *testing.T) {
	p := newPanel(t, func(c *server.Config) { c.StatsEvery, c.PartsEvery = time.Hour, time.Hour }).logIn()
	p.elect("p", poll.Open)
	s := p.listen("/api/live?poll=p")
	s.next("stats")
	p.want(p.post("/api/polls/p/pause", decision("p")), http.StatusOK, "")
	s.must("stats", func(d map[string]any) bool { return d["state"] == "paused" })
}

func TestAStreamEndsWithItsSession(t *testing.T) {
	p := newPanel(t).logIn()
	p.elect("p", poll.Open)
	s := p.listen("/api/live?poll=p")
	s.next("stats")
	p.post("/api/logout", struct{}{})
	if _, ok := s.next("ended"); !ok {
		t.Error("the stream did not say that the session is over")
	}
	if _, ok := s.next("stats"); ok {
		t.Error("the stream went on")
	}
}

func TestAStreamOfNoPollIsAProblem(t *testing.T) {
	p := newPanel(t).logIn()
	p.want(p.get("/api/live?poll=nowhere"), http.StatusNotFound, "poll-not-found")
	if _, ok := p.listen("/api/live").next("overview"); !ok {
		t.Error("a stream of the parts alone sends no overview")
	}
}

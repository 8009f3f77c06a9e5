package server

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/popvote/popvote/libs/ballotapi"
)

// live reads each watched poll once per beat, however many operators watch it, and reads nothing
// that nobody watches. What it read is handed out as one shared picture: a slow reader misses beats,
// never facts, because each stream works out for itself what its page has not seen yet.
type live struct {
	ctx                    context.Context
	server                 *Server
	statsEvery, partsEvery time.Duration
	// cloudsEvery is often: it asks nobody.
	cloudsEvery time.Duration

	mu     sync.Mutex
	polls  map[string]*topic[*ballotapi.Stats]
	system *topic[*overviewView]
	clouds *topic[*cloudsView]
	routes *topic[*routesView]
}

// topic is one thing watched. Its fields are live.mu's.
type topic[T any] struct {
	watchers map[chan struct{}]bool
	stop     context.CancelFunc
	nudged   chan struct{}
	// latest is what was read last, at readAt; failed says that the newest attempt was in vain.
	latest T
	readAt time.Time
	failed bool
}

func newLive(ctx context.Context, s *Server, statsEvery, partsEvery time.Duration) *live {
	return &live{ctx: ctx, server: s, statsEvery: statsEvery, partsEvery: partsEvery, cloudsEvery: min(2*time.Second, partsEvery), polls: map[string]*topic[*ballotapi.Stats]{}}
}

// nudge reads everything that is watched again at once: something was just changed.
func (l *live) nudge() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.polls {
		poke(t.nudged)
	}
	if l.system != nil {
		poke(l.system.nudged)
	}
	if l.clouds != nil {
		poke(l.clouds.nudged)
	}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting already
	}
}

// watch starts or joins a topic; leave must be called once.
func watch[T any](l *live, find func() *topic[T], keep func(*topic[T]), every time.Duration, read func(context.Context) (T, error)) (t *topic[T], woken chan struct{}, leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t = find(); t == nil {
		ctx, stop := context.WithCancel(l.ctx)
		t = &topic[T]{watchers: map[chan struct{}]bool{}, stop: stop, nudged: make(chan struct{}, 1)}
		keep(t)
		go beat(ctx, l, t, every, read)
	}
	woken = make(chan struct{}, 1)
	t.watchers[woken] = true
	if !t.readAt.IsZero() || t.failed {
		poke(woken)
	}
	return t, woken, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(t.watchers, woken)
		if len(t.watchers) == 0 {
			t.stop()
			keep(nil)
		}
	}
}

// beat reads a topic until its last watcher has left.
func beat[T any](ctx context.Context, l *live, t *topic[T], every time.Duration, read func(context.Context) (T, error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		// A read that hangs must not leave the page with a picture that looks fresh.
		reading, cancel := context.WithTimeout(ctx, max(5*time.Second, every))
		latest, err := read(reading)
		cancel()
		if ctx.Err() != nil {
			return
		}
		l.mu.Lock()
		if err == nil {
			t.latest, t.readAt = latest, l.server.clock()
		} else if !t.failed {
			l.server.log.WarnContext(ctx, "couldn't read what is watched", slog.Any("error", err))
		}
		t.failed = err != nil
		for w := range t.watchers {
			poke(w)
		}
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-t.nudged:
		}
	}
}

func (l *live) watchPoll(id string) (*topic[*ballotapi.Stats], chan struct{}, func()) {
	return watch(l,
		func() *topic[*ballotapi.Stats] { return l.polls[id] },
		func(t *topic[*ballotapi.Stats]) {
			if t == nil {
				delete(l.polls, id)
			} else {
				l.polls[id] = t
			}
		},
		l.statsEvery,
		func(ctx context.Context) (*ballotapi.Stats, error) {
			stats, err := l.server.admin.Stats(ctx, id)
			return &stats, err
		})
}

func (l *live) watchSystem() (*topic[*overviewView], chan struct{}, func()) {
	return watch(l,
		func() *topic[*overviewView] { return l.system },
		func(t *topic[*overviewView]) { l.system = t },
		l.partsEvery,
		func(ctx context.Context) (*overviewView, error) {
			view := &overviewView{Parts: l.server.allParts(ctx), Notice: l.server.book.State().NewestNotice()}
			polls, err := l.server.admin.AllPolls(ctx)
			view.Now, view.Polls = l.server.clock(), some(polls)
			if err != nil {
				// The parts are worth showing most when the ballot server does not answer.
				view.Polls = nil
			}
			return view, nil
		})
}

func (l *live) watchClouds() (*topic[*cloudsView], chan struct{}, func()) {
	return watch(l,
		func() *topic[*cloudsView] { return l.clouds },
		func(t *topic[*cloudsView]) { l.clouds = t },
		l.cloudsEvery,
		l.server.readClouds)
}

func (l *live) watchRoutes() (*topic[*routesView], chan struct{}, func()) {
	return watch(l,
		func() *topic[*routesView] { return l.routes },
		func(t *topic[*routesView]) { l.routes = t },
		l.partsEvery,
		l.server.readRoutes)
}

func look[T any](l *live, t *topic[T]) (latest T, readAt time.Time, failed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return t.latest, t.readAt, t.failed
}

// liveStats is one beat: the whole picture, but of the curve only what this stream has not sent.
type liveStats struct {
	ballotapi.Stats
	// Whole says that per_minute is the whole curve; else it replaces the minutes it names.
	Whole    bool      `json:"whole"`
	Counting bool      `json:"counting"`
	Now      time.Time `json:"now"`
}

// overlap is how far back a beat repeats the curve: minutes just gone may still grow.
const overlap = 2 * time.Minute

// after returns the minutes from a moment on; they are sorted.
func after(minutes []ballotapi.MinuteCount, from time.Time) []ballotapi.MinuteCount {
	i := len(minutes)
	for i > 0 && !minutes[i-1].Minute.Before(from) {
		i--
	}
	return minutes[i:]
}

// stream sends the overview, the clouds and the SMS routes where any are known, and with ?poll= that poll's numbers,
// for as long as the page listens: events "overview", "clouds", "routes", "stats", and "stale" when the ballot server
// does not answer.
func (s *Server) stream(c *gin.Context) {
	who := operator(c)
	id := c.Query("poll")
	if id != "" {
		// An unknown poll is a problem now, not a silent stream.
		if _, err := s.manifest(c, id); err != nil {
			s.fail(c, err)
			return
		}
	}
	_ = http.NewResponseController(c.Writer).SetWriteDeadline(time.Time{})
	c.Header("Content-Type", "text/event-stream")
	c.Header("X-Accel-Buffering", "no")
	c.Writer.WriteHeader(http.StatusOK)
	s.metrics.streams.Inc()
	defer s.metrics.streams.Dec()

	system, systemWoken, leave := s.live.watchSystem()
	defer leave()
	var sky *topic[*cloudsView]
	var cloudsWoken chan struct{}
	if s.clouds != nil {
		var leave func()
		sky, cloudsWoken, leave = s.live.watchClouds()
		defer leave()
	}
	var routes *topic[*routesView]
	var routesWoken chan struct{}
	if s.gateways != nil {
		var leave func()
		routes, routesWoken, leave = s.live.watchRoutes()
		defer leave()
	}
	var stats *topic[*ballotapi.Stats]
	var statsWoken chan struct{}
	if id != "" {
		var leave func()
		stats, statsWoken, leave = s.live.watchPoll(id)
		defer leave()
	}
	out := sender{w: c.Writer}
	check := time.NewTicker(15 * time.Second)
	defer check.Stop()
	for out.err == nil {
		select {
		case <-c.Request.Context().Done():
			return
		case <-s.ctx.Done():
			return
		case <-check.C:
			out.comment("alive")
		case <-systemWoken:
			if view, _, _ := look(s.live, system); view != nil {
				out.event("overview", view)
			}
		case <-cloudsWoken:
			if view, _, _ := look(s.live, sky); view != nil {
				out.event("clouds", view)
			}
		case <-routesWoken:
			if view, _, _ := look(s.live, routes); view != nil {
				out.event("routes", view)
			}
		case <-statsWoken:
			out.stats(s, id, stats)
		}
		if !s.sessions.alive(who) || !s.holds(who) {
			out.event("ended", struct{}{})
			return
		}
	}
}

// sender writes one stream. Its owner is the stream's goroutine.
type sender struct {
	w gin.ResponseWriter
	// upTo is the newest minute sent; zero before the first.
	upTo time.Time
	sent bool
	err  error
}

func (o *sender) stats(s *Server, id string, t *topic[*ballotapi.Stats]) {
	stats, readAt, failed := look(s.live, t)
	if failed {
		o.event("stale", map[string]any{"since": readAt, "now": s.clock()})
		return
	}
	view := liveStats{Stats: *stats, Whole: !o.sent, Counting: s.counting(id), Now: s.clock()}
	if o.sent {
		view.PerMinute = after(stats.PerMinute, o.upTo.Add(-overlap))
	}
	view.PerMinute = some(view.PerMinute)
	if n := len(stats.PerMinute); n > 0 {
		o.upTo = stats.PerMinute[n-1].Minute
	}
	o.sent = true
	o.event("stats", view)
}

func (o *sender) event(name string, data any) {
	text, err := json.Marshal(data)
	if err != nil {
		o.err = err
		return
	}
	var b bytes.Buffer
	b.WriteString("event: " + name + "\ndata: ")
	b.Write(text)
	b.WriteString("\n\n")
	o.send(b.Bytes())
}

func (o *sender) comment(text string) { o.send([]byte(": " + text + "\n\n")) }

func (o *sender) send(b []byte) {
	if o.err != nil {
		return
	}
	// A page that stopped reading must not hold this goroutine for ever. Sockets go by the real clock.
	control := http.NewResponseController(o.w)
	_ = control.SetWriteDeadline(time.Now().Add(30 * time.Second)) //nolint:forbidigo // deadlines are the network's, whatever the injected clock says
	if _, o.err = o.w.Write(b); o.err == nil {
		o.err = control.Flush()
	}
}

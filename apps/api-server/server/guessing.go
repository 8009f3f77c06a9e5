package server

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/libs/verification"
)

const (
	// guessWindow is how far back tries are looked at, at least; at most twice that.
	guessWindow = 5 * time.Minute
	// guessesFrom is how many wrong codes are no alarm yet, whatever their share: one voter types five.
	guessesFrom = 100
)

// guessing watches for codes that are guessed across many sessions, a few tries in each, which no limit by
// session or phone sees. People mistype one code in some ten or twenty; who guesses is wrong but for once in a
// million. So when more codes are wrong than right, somebody guesses. Whoever does gets into one session in
// 200,000 with five tries each: what it takes is in the counts. Safe for concurrent use.
type guessing struct {
	clock func() time.Time
	log   *slog.Logger

	mu sync.Mutex
	// guarded by mu
	began   time.Time // the current window
	now     tries
	before  tries // the window before
	alarmed bool
}

// tries are codes that were compared.
type tries struct{ right, wrong int }

func (t tries) and(o tries) tries { return tries{t.right + o.right, t.wrong + o.wrong} }

func newGuessing(registerer prometheus.Registerer, clock func() time.Time, log *slog.Logger) (*guessing, error) {
	g := &guessing{clock: clock, log: log}
	err := registerer.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "popvote", Subsystem: "api", Name: "code_guessing",
		Help: "1 while more six-digit codes are wrong than right, and many: somebody guesses, across sessions.",
	}, func() float64 {
		if g.look() {
			return 1
		}
		return 0
	}))
	if err != nil {
		return nil, fmt.Errorf("couldn't register the metrics: %w", err)
	}
	return g, nil
}

// count counts a try; what was not compared is none.
func (g *guessing) count(ctx context.Context, result verification.CodeResult) {
	if result != verification.Right && result != verification.Wrong {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.turn()
	if result == verification.Right {
		g.now.right++
	} else {
		g.now.wrong++
	}
	is := g.alarm()
	if is == g.alarmed {
		return
	}
	g.alarmed = is
	sum := g.now.and(g.before)
	log := g.log.With(slog.Int("wrong", sum.wrong), slog.Int("right", sum.right))
	if is {
		log.WarnContext(ctx, "codes are being guessed")
	} else {
		log.InfoContext(ctx, "codes are not being guessed any more")
	}
}

// look says whether there is an alarm.
func (g *guessing) look() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.turn()
	return g.alarm()
}

// alarm is look for who holds mu.
func (g *guessing) alarm() bool {
	sum := g.now.and(g.before)
	return sum.wrong > guessesFrom && sum.wrong > sum.right
}

// turn begins another window when it is time; the caller holds mu.
func (g *guessing) turn() {
	now := g.clock()
	switch passed := now.Sub(g.began); {
	case passed < guessWindow:
		return
	case passed < 2*guessWindow:
		g.before = g.now
	default:
		g.before = tries{}
	}
	g.began, g.now = now, tries{}
}

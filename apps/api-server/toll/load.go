package toll

import (
	"math"
	"time"
)

const (
	// smoothing is about how far back the rate of sessions looks.
	smoothing = 10 * time.Second
	// calm is how long it must have been quieter before a step is taken back.
	calm = 30 * time.Second
)

// levels are the shares of the capacity from which on everybody is asked one step more, and below which it is taken
// back. Load alone asks no more than four times the work: at the opening minute it is voters who cause it.
var levels = []struct{ up, down float64 }{{.5, .35}, {.8, .6}}

// load is how near the server is to its limits. Sessions count, not challenges: those cost nothing to fetch, and
// whoever fetched many would make everybody else work. Guarded by its owner's mu.
type load struct {
	capacity float64
	rate     float64 // sessions a second, as of at
	at       time.Time
	step     Step
	// quieter is since when it has been below the step's lower share; zero while it is not.
	quieter, looked time.Time
}

// add counts a session.
func (l *load) add(now time.Time) {
	l.fade(now)
	l.rate += 1 / smoothing.Seconds()
}

func (l *load) fade(now time.Time) {
	if passed := now.Sub(l.at); passed > 0 {
		l.rate *= math.Exp(-passed.Seconds() / smoothing.Seconds())
		l.at = now
	}
}

// look returns the step now, of the rate and of the share of connections that are held.
func (l *load) look(now time.Time, held float64) Step {
	l.fade(now)
	if now.Sub(l.looked) >= time.Duration(len(levels))*calm {
		l.step = 0 // nobody has asked for so long
	}
	l.looked = now
	share := held
	if l.capacity > 0 {
		share = max(share, l.rate/l.capacity)
	}
	for int(l.step) < len(levels) && share >= levels[l.step].up {
		l.step++
		l.quieter = time.Time{}
	}
	switch {
	case l.step == 0 || share >= levels[l.step-1].down:
		l.quieter = time.Time{}
	case l.quieter.IsZero():
		l.quieter = now
	case now.Sub(l.quieter) >= calm:
		l.step--
		l.quieter = time.Time{}
	}
	return l.step
}

package toll

import (
	"math"
	"time"
)

const (
	// tickLength is how finely time is counted.
	tickLength = 30 * time.Second
	// latest is when at the latest a session that nobody verified counts.
	latest = 5 * time.Minute
	// ring is how many ticks ahead sessions come due, and this one.
	ring = int64(latest/tickLength) + 2
	// ways is how many networks share a place in the table.
	ways = 8
	// remembered is how much of what was counted weighs, sessions: so that what comes after outweighs it soon.
	remembered = 200
)

// fading is what is left of a count after a tick: half of it after ten minutes.
var fading = float32(math.Exp2(-float64(tickLength) / float64(10*time.Minute)))

// tick is a time, in tickLength since the epoch.
type tick int64

func tickOf(t time.Time) tick { return tick(t.Unix() / int64(tickLength/time.Second)) }

// counts are sessions that come due, and those of them that nobody has verified.
type counts struct{ due, open int32 }

// network is what is remembered of one. Open may be below 0 for a while: where voters begin at one server and are
// verified at another, only the sums agree.
type network struct {
	key uint64 // 0: nobody
	// at is the first tick that is not in the sums yet.
	at tick
	// The sums, fading: sessions that came due, those of them that came to nothing, and junk.
	due, open, junk float32
	// ahead is what will come due, by tick modulo ring.
	ahead [ring]counts
}

// turn takes what has come due into the sums.
func (n *network) turn(now tick) {
	if now-n.at > tick(ring) {
		// Everything is due, and the rest of the time is fading only.
		for range ring {
			n.one()
		}
		f := float32(math.Pow(float64(fading), float64(now-n.at)))
		n.due, n.open, n.junk, n.at = n.due*f, n.open*f, n.junk*f, now
	}
	for n.at < now {
		n.one()
	}
}

// one turns by one tick.
func (n *network) one() {
	came := &n.ahead[int64(n.at)%ring]
	n.due = n.due*fading + float32(came.due)
	n.open = n.open*fading + float32(came.open)
	n.junk *= fading
	*came = counts{}
	n.at++
	n.bound()
}

// bound keeps the sums to what is remembered.
func (n *network) bound() {
	if n.due > remembered {
		n.open *= remembered / n.due
		n.due = remembered
	}
	n.open = max(-remembered, min(remembered, n.open))
	n.junk = min(remembered, n.junk)
}

// add counts at the tick when it is due.
func (n *network) add(due tick, c counts) {
	if due < n.at {
		n.due += float32(c.due)
		n.open += float32(c.open)
		n.bound()
		return
	}
	at := &n.ahead[int64(min(due, n.at+tick(ring)-1))%ring]
	at.due += c.due
	at.open += c.open
}

// weight is how much is known of a network: who has least is forgotten first.
func (n *network) weight() float32 {
	w := n.due + n.junk
	for _, c := range n.ahead {
		w += float32(c.due)
	}
	return w
}

// shares of sessions that came to nothing, from which on a network is asked a step more each. One in five honest
// voters may well be slow, lose their SMS or their patience.
var shares = [Highest]float32{.5, .65, .8}

// step judges by shares, never by numbers: a carrier with a thousand voters and a hundred bots is asked no more.
func (n *network) step() Step {
	bad, s := sure(n.open, n.due), Step(0)
	for _, share := range shares {
		if bad > share {
			s++
		}
	}
	// Junk costs its sender nothing, so it can't do much harm to the neighbours: one step.
	if sure(n.junk, n.junk+n.due) > shares[0] {
		s++
	}
	return min(s, Highest)
}

// sure is a share less what may be chance: two standard deviations of counts of this size. So sixteen sessions of
// which not one was verified are no evidence yet.
func sure(part, of float32) float32 {
	if of <= 0 {
		return 0
	}
	return (part - 2*float32(math.Sqrt(float64(of)))) / of
}

// networks is a table of fixed size. A network has one of eight places, by its key; where all are taken, whoever is
// known least makes room. So a million networks that were seen once push out one another, and nobody who counts.
type networks struct{ rows [][ways]network }

func newNetworks(n int) networks { return networks{make([][ways]network, max(1, n/ways))} }

func (t networks) row(key uint64) *[ways]network { return &t.rows[(key>>1)%uint64(len(t.rows))] }

// find returns a network that is known, turned to now.
func (t networks) find(key uint64, now tick) *network {
	row := t.row(key)
	for i := range row {
		if n := &row[i]; n.key == key {
			n.turn(now)
			return n
		}
	}
	return nil
}

// make returns a network, known or new.
func (t networks) make(key uint64, now tick) *network {
	if n := t.find(key, now); n != nil {
		return n
	}
	row := t.row(key)
	least, weight := &row[0], float32(math.Inf(1))
	for i := range row {
		n := &row[i]
		if n.key == 0 {
			least = n
			break
		}
		n.turn(now)
		if w := n.weight(); w < weight {
			least, weight = n, w
		}
	}
	*least = network{key: key, at: now}
	return least
}

// step is the higher one of what a network is known under.
func (t networks) step(keys [2]uint64, now tick) (highest Step) {
	for _, key := range keys {
		if key == 0 {
			break
		}
		if n := t.find(key, now); n != nil {
			highest = max(highest, n.step())
		}
	}
	return highest
}

func (t networks) add(keys [2]uint64, now, due tick, c counts) {
	for _, key := range keys {
		if key != 0 {
			t.make(key, now).add(due, c)
		}
	}
}

func (t networks) junk(keys [2]uint64, now tick) {
	for _, key := range keys {
		if key != 0 {
			n := t.make(key, now)
			n.junk++
			n.bound()
		}
	}
}

// count counts the networks of some rows by their steps.
func (networks) count(rows [][ways]network, now tick, sums *[Highest + 1]int) {
	for r := range rows {
		for i := range rows[r] {
			if n := &rows[r][i]; n.key != 0 {
				n.turn(now)
				sums[n.step()]++
			}
		}
	}
}

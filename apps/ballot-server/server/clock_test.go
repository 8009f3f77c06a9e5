package server

import (
	"testing"
	"time"

	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
)

// Whoever is told that the poll is closed is told so for good: a clock that is set back does not open it
// again, even before the ticker has come round to closing it.
func TestAClockSetBackOpensNothing(t *testing.T) {
	b := newBox(t)
	b.deps.clockGoesBack = false
	b.reopen()
	b.move(poll.Open)
	b.expect(b.cast(cast(1, "k", b.junk()))[0], "")
	b.clock.set(b.poll.ClosesAt.Add(-5 * time.Minute))
	b.expect(b.cast(cast(2, "k", b.junk()))[0], "")
	b.clock.set(b.poll.ClosesAt)
	b.expect(b.cast(cast(3, "k", b.junk()))[0], problem.PollClosed)
	b.clock.set(b.poll.ClosesAt.Add(-5 * time.Minute))
	b.expect(b.cast(cast(3, "k", b.junk()))[0], problem.PollClosed)
	b.expect(b.cast(cast(4, "k", b.junk()))[0], problem.PollClosed)
}

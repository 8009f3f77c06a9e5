package server

import (
	"sync/atomic"
	"time"
)

// forward is a clock that never goes back while the process runs. A machine's clock may be set back; a poll
// must not open again to some after it was closed to others. Until the machine has caught up, time stands
// still here.
func forward(clock func() time.Time) func() time.Time {
	var latest atomic.Pointer[time.Time]
	return func() time.Time {
		now := clock()
		for {
			last := latest.Load()
			// The wall clock is compared, not the monotonic reading: that is what deadlines are.
			if last != nil && now.UnixNano() <= last.UnixNano() {
				return *last
			}
			if latest.CompareAndSwap(last, &now) {
				return now
			}
		}
	}
}

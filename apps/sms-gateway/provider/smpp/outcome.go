package smpp

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/linxGnu/gosmpp/data"

	"github.com/popvote/popvote/libs/sms"
)

// verdicts are the statuses (SMPP 3.4, 5.1.3) that mean something else than sms.ErrUnavailable: every other
// that is not 0 is an SMSC that certainly did not take the message, for its own reasons or our
// configuration's.
var verdicts = map[data.CommandStatusType]error{
	data.ESME_RINVDSTADR: sms.ErrPermanent,
	data.ESME_RMSGQFUL:   sms.ErrThrottled,
	data.ESME_RTHROTTLED: sms.ErrThrottled,
}

// refusal is what a status other than 0 means, with the status in its text.
func (p *Provider) refusal(status data.CommandStatusType) error {
	code := uint32(status) //nolint:gosec // the four bytes as they came
	kind := verdicts[status]
	switch {
	case slices.Contains(p.permanent, code):
		kind = sms.ErrPermanent
	case slices.Contains(p.blocked, code):
		kind = sms.ErrBlocked
	case kind == nil:
		kind = sms.ErrUnavailable
	}
	return fmt.Errorf("couldn't submit the SMS: %w (status 0x%08X)", kind, code)
}

const (
	// An SMSC that says it is asked too often names no wait, so it is found: the first, doubled each
	// time, up to the longest.
	firstPause, longestPause = time.Second, 30 * time.Second
)

// pause is for how long an SMSC that was asked too often is left alone. Safe for concurrent use.
type pause struct {
	mu sync.Mutex
	// guarded by mu
	until time.Time
	next  time.Duration
}

// left is how long it still is; 0 if not at all.
func (p *pause) left(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, p.until.Sub(now))
}

// begin makes it longer; the refusals of one window are one.
func (p *pause) begin(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !now.Before(p.until) {
		p.next = min(max(firstPause, 2*p.next), longestPause)
		p.until = now.Add(p.next)
	}
	return p.until.Sub(now)
}

// end is after an SMSC took one.
func (p *pause) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = 0
}

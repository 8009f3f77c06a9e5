package verification

import (
	"crypto/subtle"
	"time"
)

// codes is one session's record, and the rules of codes: a call makes the record that takes its place,
// and never changes one. Boards differ in where they keep it.
type codes struct {
	Limits CodeLimits `json:"limits"`
	Sends  int        `json:"sends"`
	// NextSend is when another may be sent, NextCheck when one may be tried.
	NextSend  time.Time `json:"next_send"`
	NextCheck time.Time `json:"next_check"`
	MAC       []byte    `json:"mac,omitempty"`
	Tries     int       `json:"tries"`
	// Until is the code's end; zero when it is used up or was never there.
	Until time.Time `json:"until"`
	// Before is the record as it was before the last sending.
	Before *codes `json:"before,omitempty"`
}

// send is NewCode; no record where nothing is sent.
func (c *codes) send(mac [32]byte, limits CodeLimits, now time.Time) (*codes, CodeState) {
	switch {
	case c.Sends > len(limits.SendDelays):
		return nil, c.state(Exhausted, now)
	case now.Before(c.NextSend), c.Sends < limits.After:
		return nil, c.state(TooSoon, now)
	}
	before := *c
	before.Before = nil
	next := &codes{
		Limits: limits, Sends: c.Sends + 1, MAC: mac[:], Tries: limits.Tries,
		Until: now.Add(limits.TTL), NextCheck: now, Before: &before,
	}
	if c.Sends < len(limits.SendDelays) {
		next.NextSend = now.Add(limits.SendDelays[c.Sends])
	}
	return next, next.state(Accepted, now)
}

// try is TryCode; no record where nothing is counted.
func (c *codes) try(mac [32]byte, now time.Time) (*codes, CodeState) {
	switch {
	case !now.Before(c.Until):
		return nil, c.state(NoCode, now)
	case c.Tries == 0:
		return nil, c.state(Exhausted, now)
	case now.Before(c.NextCheck):
		return nil, c.state(TooSoon, now)
	}
	next := *c
	next.Tries--
	next.NextCheck = now.Add(c.Limits.CheckDelay)
	if subtle.ConstantTimeCompare(mac[:], c.MAC) == 1 {
		next.Until = time.Time{}
		return &next, next.state(Right, now)
	}
	return &next, next.state(Wrong, now)
}

// noRecord is what TryCode comes to in a session that was sent nothing.
func noRecord() CodeState { return CodeState{Result: NoCode, NextSend: -1, NextCheck: -1} }

// state says where the session stands; waits are from now.
func (c *codes) state(result CodeResult, now time.Time) CodeState {
	s := CodeState{Result: result, Sends: c.Sends, TriesLeft: c.Tries, NextSend: -1, NextCheck: -1}
	if c.Sends <= len(c.Limits.SendDelays) {
		s.NextSend = max(0, c.NextSend.Sub(now))
	}
	if c.Tries > 0 && now.Before(c.Until) {
		s.NextCheck = max(0, c.NextCheck.Sub(now))
	}
	return s
}

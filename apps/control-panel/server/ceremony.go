package server

import (
	"sync"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/popvote/popvote/apps/control-panel/operators"
)

// purpose is what an answer to a challenge is for; one for another purpose is refused.
type purpose int

const (
	toSignIn purpose = iota
	toRegister
	toAct
)

// ceremony is a challenge that waits for its one answer.
type ceremony struct {
	purpose purpose
	data    *webauthn.SessionData
	until   time.Time
	// session is who asked, empty for a sign-in.
	session [32]byte
	account operators.Account
	act     operators.Act // of toAct
}

const (
	// ceremonyTime is how long a challenge waits.
	ceremonyTime = 5 * time.Minute
	// maxCeremonies bounds memory: to begin a sign-in needs no session.
	maxCeremonies = 1000
)

// ceremonies are the challenges that wait. They are in memory alone: after a restart one begins again.
type ceremonies struct {
	clock func() time.Time

	mu sync.Mutex
	of map[string]*ceremony
}

// put keeps a challenge and returns the name that its answer has to give.
func (p *ceremonies) put(c *ceremony) string {
	id := operators.Secret()
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock()
	if c.until.IsZero() {
		c.until = now.Add(ceremonyTime)
	}
	if len(p.of) >= maxCeremonies {
		for old, waits := range p.of {
			if now.After(waits.until) {
				delete(p.of, old)
			}
		}
	}
	// Whoever floods it pushes out challenges by chance, mostly their own.
	for old := range p.of {
		if len(p.of) < maxCeremonies {
			break
		}
		delete(p.of, old)
	}
	p.of[id] = c
	return id
}

// take returns a challenge for its answer, once, however that ends.
func (p *ceremonies) take(id string, why purpose, session [32]byte) (*ceremony, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.of[id]
	delete(p.of, id)
	if c == nil || c.purpose != why || c.session != session || p.clock().After(c.until) {
		return nil, errCeremony
	}
	return c, nil
}

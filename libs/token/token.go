// Package token seals a voter's session into the access token the client holds, and opens it again.
package token

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/popvote/popvote/libs/identity"
	"github.com/popvote/popvote/libs/verification"
)

// Step is how far a session has come; part of what is authenticated.
type Step string

// The steps.
const (
	// Waiting is no session yet but a place in the waiting room: it begins one, and takes no step.
	Waiting    Step = "waiting"
	Identified Step = "identified"
	Verified   Step = "verified"
)

// Session is what a token carries. It never holds an identity number.
type Session struct {
	// ID is random, 128 bits, base64url.
	ID      string
	Poll    string
	Step    Step
	Voter   identity.VoterTag
	Phone   identity.PhoneTag
	Channel string
	Lang    string
	Started time.Time
	Expires time.Time
	// Await is what a voter_sends session waits for.
	Await verification.Key
	// SealedPhone is the E.164 number, kept inside the sealed token in voter_receives only, so that a
	// code can be sent again.
	SealedPhone string
}

// Format keeps a session, and the number in it, out of every message.
func (s Session) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "session for %s", s.Poll) }

// LogValue keeps it out of every log.
func (s Session) LogValue() slog.Value { return slog.StringValue("session for " + s.Poll) }

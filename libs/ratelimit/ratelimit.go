// Package ratelimit says how often things may be done: one table of limits as data, and limiters
// that count against it. The generic cell rate algorithm (GCRA) needs one time stamp per key, so a
// limit costs 8 bytes of state per client and spreads its allowance over the window.
package ratelimit

import (
	"context"
	"net/netip"
	"strconv"
	"time"

	"github.com/popvote/popvote/libs/identity"
)

// Action is something that clients do and that is counted.
type Action string

// The actions.
const (
	Challenge Action = "challenge" // fetch a proof-of-work challenge
	Captcha   Action = "captcha"   // have a captcha drawn or spoken
	Attempt   Action = "attempt"   // send a solved challenge or captcha, right or wrong: checking one takes work
	Session   Action = "session"   // start a session (step 1)
	Send      Action = "send"      // have an SMS sent: this costs the organiser money
	Check     Action = "check"     // try a six-digit code
	Verify    Action = "verify"    // have proved a phone, once in a session
	Wait      Action = "wait"      // open a held connection
	Cast      Action = "cast"      // cast a ballot (step 3)
	Download  Action = "download"  // read what is not answered from memory: tiles, bundles
	Report    Action = "report"    // tell of what a page's policy forbade
)

// Dimension is what an action is counted by.
type Dimension string

// The dimensions. Network is the client's /24 (IPv4) or /48 (IPv6): one home, classroom or carrier
// gateway. Block is 1,000 phone numbers that differ in their last three digits only. A limit by several
// dimensions counts each combination.
const (
	Network Dimension = "network"
	Phone   Dimension = "phone"
	Block   Dimension = "block"
	Voter   Dimension = "voter"
	Poll    Dimension = "poll"
	Global  Dimension = "global"
)

// Limit is one row of the table.
type Limit struct {
	// Name is the key for overrides, and the policy's name in RateLimit headers.
	Name string
	On   Action
	By   []Dimension
	// Count actions may be done in any Window; a quiet client may do them all at once.
	Count  int
	Window time.Duration
	// Why is for the documentation.
	Why string
}

// Subject is who does something. Zero members are not known, and limits by them are not counted.
type Subject struct {
	Client netip.Addr
	Phone  identity.PhoneTag
	Block  identity.BlockTag
	Voter  identity.VoterTag
	Poll   string
}

// Decision is what a limiter says.
type Decision struct {
	Allowed bool
	// Limit is the one that refused, else the one with the smallest share left. Its zero value means
	// that nothing is limited.
	Limit Limit
	// Remaining actions in the window, and the time until the allowance is whole again.
	Remaining int
	Reset     time.Duration
	// RetryAfter is when a refused action will be allowed.
	RetryAfter time.Duration
}

// Policy is the RateLimit-Policy header (draft-ietf-httpapi-ratelimit-headers), or empty.
func (d Decision) Policy() string {
	if d.Limit.Name == "" {
		return ""
	}
	return item(d.Limit.Name, ";q=", int64(d.Limit.Count), ";w=", seconds(d.Limit.Window))
}

// Header is the RateLimit header of the same draft, or empty.
func (d Decision) Header() string {
	if d.Limit.Name == "" {
		return ""
	}
	return item(d.Limit.Name, ";r=", int64(d.Remaining), ";t=", seconds(d.Reset))
}

// item is a name with two parameters (RFC 9651). Names are of the table, and need no escaping; every cast
// has two of these.
func item(name, first string, a int64, second string, b int64) string {
	text := make([]byte, 0, 64)
	text = append(append(append(text, '"'), name...), '"')
	text = strconv.AppendInt(append(text, first...), a, 10)
	text = strconv.AppendInt(append(text, second...), b, 10)
	return string(text)
}

func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// Limiter counts. Safe for concurrent use. An error means that it cannot say: the caller decides
// whether that lets the action through.
type Limiter interface {
	// Take counts one action against every limit on it. A refused action counts against none.
	Take(ctx context.Context, action Action, who Subject) (Decision, error)
	// Return takes one action back that was counted and then came to nothing through no fault of the
	// client's, such as an SMS that no provider took.
	Return(ctx context.Context, action Action, who Subject) error
}

// NetworkOf is the network that an address is counted by.
func NetworkOf(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	prefix, _ := addr.Prefix(bits)
	return prefix
}

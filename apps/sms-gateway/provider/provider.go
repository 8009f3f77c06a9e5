// Package provider is what an SMS provider looks like to the gateway: it takes messages, and may bring
// what became of them and what voters text. Each provider is a package below this one.
package provider

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/popvote/popvote/libs/sms"
)

// Provider hands messages to one route into the phone networks. Safe for concurrent use.
type Provider interface {
	// Send hands a message over and returns the provider's id for it, which its receipts name; empty if
	// it has none. The error is one of libs/sms: ErrPermanent, ErrBlocked, ErrThrottled (as *Throttled if
	// a wait was named), ErrUnavailable, or ErrUnknown, which everything is that may have gone out. No
	// error's text holds a number, a message's text or a credential.
	Send(ctx context.Context, m sms.Message) (ref string, err error)
}

// Caller is a provider that can also call a phone and speak.
type Caller interface {
	// CanCall says whether it is set up to.
	CanCall() bool
	// Call is Send of a message of the kind sms.ByCall, which it speaks. The error is nil once the call is to be
	// made, whoever takes it.
	Call(ctx context.Context, m sms.Message) (ref string, err error)
}

// Webhooks is a provider that calls us: about messages of voters, and about what became of ours.
type Webhooks interface {
	// Handler answers the provider's calls, below the path that is its own. It believes nothing before
	// the signature over the raw body holds, its time stamp is fresh, and it was not seen before; what
	// it answers makes the provider call again only for what was not dealt with.
	Handler() http.Handler
}

// Runner is a provider that has work of its own, such as keeping a connection.
type Runner interface {
	// Run does it until the context ends, and leaves nothing of it behind.
	Run(ctx context.Context)
}

// Checker is a provider that knows by itself whether it can send just now.
type Checker interface {
	// Check says why not, if it can't. It doesn't ask anybody.
	Check(ctx context.Context) error
}

// State is what became of a message, in the words of SMPP.
type State string

// The states. Final are all but Accepted.
const (
	Accepted    State = "accepted"
	Delivered   State = "delivered"
	Undelivered State = "undelivered"
	Expired     State = "expired"
	Rejected    State = "rejected"
	Unknown     State = "unknown"
)

// Receipt is one word of a provider about one message. Receipts come late, twice, out of order or never:
// they feed figures, and nothing waits for them.
type Receipt struct {
	// Provider is the name of the route, Ref what Send returned.
	Provider, Ref string
	// To is the number it went to, if the provider says so: for the country.
	To    sms.Number
	State State
	// Code is the provider's own reason, if it gave one.
	Code string
	// At is when the provider says it happened.
	At time.Time
}

// Receipts takes receipts. Safe for concurrent use; it must not block.
type Receipts interface {
	Receipt(ctx context.Context, r Receipt)
}

// Deps are what every provider works with.
type Deps struct {
	// Name is the route's name, for receipts and figures: letters, digits and hyphens.
	Name string
	// Receiver takes what voters text.
	Receiver sms.Receiver
	Receipts Receipts
	Clock    func() time.Time
	Log      *slog.Logger
	// HTTP asks the provider. It must not follow redirects: a credential would go with them.
	HTTP *http.Client
}

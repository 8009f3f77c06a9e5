// Package sms is the small interface between PopVote and the phone networks, and the reading of
// what voters text.
package sms

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Number is a phone number in E.164 ("+85291234567"). It prints as "phone:redacted".
type Number string

const redacted = "phone:redacted"

func (Number) String() string       { return redacted }
func (Number) GoString() string     { return redacted }
func (Number) LogValue() slog.Value { return slog.StringValue(redacted) }

// Format keeps %d and its like from printing the digits.
func (Number) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// Reveal returns the digits, for the network and for nothing else.
func (n Number) Reveal() string { return string(n) }

// Kind is how a message reaches a phone.
type Kind string

// The kinds.
const (
	// ByText is an SMS.
	ByText Kind = ""
	// ByCall is a call in which the text is spoken, line by line, with a pause between two.
	ByCall Kind = "call"
)

// Message is one SMS to send, or one call to make.
type Message struct {
	// ID is ours, for idempotence and receipts.
	ID   string
	Kind Kind
	To   Number
	Text string
	// Lang is the text's language, as the polls name it ("zh-Hant-HK").
	Lang string
	// Conversation is the same for all messages of one session, and says nothing of it outside; empty if
	// there is no other. Attempt is the how manieth of them this is, from 0: each prefers another route.
	Conversation string
	Attempt      int
	// Deadline is when sending it has no use any more.
	Deadline time.Time
}

// ErrUnknown is a sending of which it is not known whether a provider took it: the same message may go
// out again, another must not.
var ErrUnknown = errors.New("it is not known whether the SMS was sent")

// Sender sends. Safe for concurrent use. A nil error means that a provider took the message; an
// error for which errors.Is(err, ErrUnknown) is true means that it may have.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// Confirmer learns which conversations came to an end as they should: the code that was sent was used. That
// is what tells a route that delivers from one that says so. Safe for concurrent use.
type Confirmer interface {
	// Confirm does not wait for anybody, and may forget: figures come of it, and no voter's way.
	Confirm(conversation string)
}

// Inbound is one SMS that a voter sent.
type Inbound struct {
	From, To   Number
	Text       string
	ReceivedAt time.Time
	// ProviderID is the network's id of the message; the same id again is the same message.
	ProviderID string
}

// ErrRefused is an inbound message that no phone network delivers: it is not looked at, and bringing it
// again won't help.
var ErrRefused = errors.New("not an SMS")

// Receiver takes inbound messages; nil, or ErrRefused, means that it is dealt with and need not come again.
type Receiver interface {
	Receive(ctx context.Context, in Inbound) error
}

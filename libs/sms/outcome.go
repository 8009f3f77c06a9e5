package sms

import (
	"errors"
	"fmt"
	"time"
)

// What becomes of a sending that did not succeed. ErrUnknown is the only one after which the message may
// have gone out.
var (
	// ErrPermanent is a number that never gets this message, by any provider: it does not exist, is no
	// mobile phone, or has asked for no more.
	ErrPermanent = errors.New("this number can't be sent an SMS")
	// ErrBlocked is a message that the provider took for fraud, or refuses to carry to such numbers.
	ErrBlocked = errors.New("the provider blocked the SMS as fraud")
	// ErrThrottled is a provider that is asked too often; see Throttled for until when.
	ErrThrottled = errors.New("the provider takes no more SMS for now")
	// ErrUnavailable is a provider that certainly did not take the message, and whose fault that is.
	ErrUnavailable = errors.New("the provider did not take the SMS")
)

// Throttled is ErrThrottled with the wait that the provider asked for.
type Throttled struct {
	// After is how long to wait; 0 if it was not said.
	After time.Duration
}

// Error implements error.
func (t *Throttled) Error() string {
	if t.After <= 0 {
		return ErrThrottled.Error()
	}
	return fmt.Sprintf("%s, for %s", ErrThrottled, t.After)
}

// Is makes a Throttled ErrThrottled.
func (*Throttled) Is(target error) bool { return target == ErrThrottled }

//go:build unix && !linux

package netns

import (
	"context"
	"errors"
	"time"
)

// Delay is how a slow cable treats packets; see the one for Linux.
type Delay struct {
	By, Jitter time.Duration
	Loss       float64
}

// Slow is a cloud's cable made slow.
type Slow struct{}

// Slow works on Linux alone, as do namespaces.
func (n *Network) Slow(context.Context, Cloud, Delay) (*Slow, error) {
	return nil, errors.New("couldn't slow a cable: that needs Linux")
}

// Mend makes the cable as fast as it was.
func (s *Slow) Mend(context.Context) error { return nil }

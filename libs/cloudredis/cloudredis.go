// Package cloudredis is the way to the Redis of a cloud, wherever that is just now.
package cloudredis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/popvote/popvote/libs/discovery"
)

// Service is what a Redis is called where services are looked up, and in its certificate.
const Service = "redis"

// ErrNone is a cloud of which no Redis is known yet.
var ErrNone = errors.New("no Redis is known")

// Access is how a Redis lets us in. The zero value is one that wants neither password nor TLS.
type Access struct {
	Password string
	// TLS makes connections with it; nil for none.
	TLS *tls.Config
	// Timeout is how long a command, or making a connection for it, may take; 0 means 1 s.
	Timeout time.Duration
}

// Client returns a client of the Redis at an address, which need not be there yet. Close it.
func (a Access) Client(address string) *redis.Client { return redis.NewClient(a.options(address)) }

// Within is Timeout, or its default.
func (a Access) Within() time.Duration {
	if a.Timeout == 0 {
		return time.Second
	}
	return a.Timeout
}

func (a Access) options(address string) *redis.Options {
	logging.Disable() // it writes to stderr by itself; what matters comes back as errors
	within := a.Within()
	return &redis.Options{
		Addr:                  address,
		Password:              a.Password,
		TLSConfig:             a.TLS,
		Protocol:              2,
		DialTimeout:           within,
		ReadTimeout:           within,
		WriteTimeout:          within,
		PoolTimeout:           within,
		ContextTimeoutEnabled: true,
		DialerRetries:         1,
		// A lost answer is an error: to try again would count a try, or a sending, twice.
		MaxRetries:               -1,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// Config is how a Link is made. Finder is required.
type Config struct {
	Access
	// Finder knows where the Redis of Service are.
	Finder discovery.Finder
	// Cloud is whose Redis is meant; empty for whichever is found, where there is only one.
	Cloud string
	// Elsewhere makes another cloud's do for as long as none of Cloud is found: for what is in all of them.
	Elsewhere bool
}

// Link leads to the one Redis of a cloud, and follows it when it moves. Safe for concurrent use.
type Link struct {
	config Config

	mu sync.Mutex
	// guarded by mu
	address string
	client  *redis.Client
	closed  bool
}

// NewLink returns a link; its Redis need not be there, nor known, yet. Close it.
func NewLink(c Config) *Link {
	l := &Link{config: c}
	nowhere := c.options("nowhere")
	nowhere.Dialer = func(context.Context, string, string) (net.Conn, error) { return nil, ErrNone }
	l.client = redis.NewClient(nowhere)
	return l
}

// Client returns a client of the Redis where it is now. Ask for it each time: that of an address which the
// Redis has left is closed. While none is found, the last one stays.
func (l *Link) Client() *redis.Client {
	found := l.found()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(found) == 0 || slices.Contains(found, l.address) {
		return l.client
	}
	_ = l.client.Close() // whoever waits for an answer there learns that none comes
	// All that begin at the same time take the same one, also while it moves and there are two.
	l.address = slices.Min(found)
	l.client = l.config.Client(l.address)
	return l.client
}

// Check is nil while the Redis answers.
func (l *Link) Check(ctx context.Context) error {
	if err := l.Client().Ping(ctx).Err(); err != nil {
		return fmt.Errorf("couldn't ask this cloud's Redis: %w", err)
	}
	return nil
}

// Within is how long a command may take.
func (l *Link) Within() time.Duration { return l.config.Within() }

// Close cuts the connections.
func (l *Link) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	return l.client.Close()
}

// found is where Redis of the cloud are; those that name no cloud are of every one.
func (l *Link) found() (addresses []string) {
	var elsewhere []string
	for _, in := range l.config.Finder.Find(Service) {
		if l.config.Cloud == "" || in.Cloud == "" || in.Cloud == l.config.Cloud {
			addresses = append(addresses, in.Address)
		} else {
			elsewhere = append(elsewhere, in.Address)
		}
	}
	if len(addresses) == 0 && l.config.Elsewhere {
		return elsewhere
	}
	return addresses
}

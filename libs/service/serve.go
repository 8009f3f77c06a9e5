package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/netutil"
)

// The times and sizes a client gets.
const (
	headerTime     = 5 * time.Second
	readTime       = 10 * time.Second
	idleTime       = 60 * time.Second
	maxHeaderBytes = 16 << 10
	// maxHeaders is how many header lines a request may have: a browser behind two proxies sends some 30.
	maxHeaders = 100
	// maxStreams is how many requests one connection over HTTP/2 may have under way.
	maxStreams = 100
)

// ErrPortTaken is an address that another program listens on.
var ErrPortTaken = errors.New("the address is in use by another program")

// Listener is one address and what answers there.
type Listener struct {
	// Name is for messages ("voter API").
	Name string
	// Address is host and port; port 0 takes a free one. Unused if Open is set.
	Address string
	// Open is a listener that is open already; Serve closes it.
	Open net.Listener
	// Handler answers requests.
	Handler http.Handler
	// ReadTime is how long a whole request may take to arrive; 0 means 10 s. Only a handler that
	// takes large uploads needs more.
	ReadTime time.Duration
	// WriteTime is how long an answer may take, from the end of the request's header to its last byte; 0
	// means as long as it likes. A handler that holds a stream sets a deadline of its own before each
	// write (http.ResponseController), and is not bound by this.
	WriteTime time.Duration
	// Connections is how many are held at once; further ones wait in the system's queue until one ends.
	// 0 means no limit, for listeners that are not the public's.
	Connections int
}

// Options are how a service serves and stops. The zero value serves silently and stops at once.
type Options struct {
	// Log is told what listens where, and how stopping went; nil means nobody is.
	Log *slog.Logger
	// Health fails as soon as the service is asked to stop; nil means nobody asks.
	Health *Health
	// Drain is how long work is still taken after that, so that load balancers see it first: at
	// least twice their probe's interval. 0, for a program without one, stops at once.
	Drain time.Duration
	// Limit is how long requests that are being answered may take to end; then they are cut off. 0
	// means 10 s.
	Limit time.Duration
	// Started is called once everything listens, with the addresses in the order of the listeners.
	Started func([]net.Addr)
}

// Serve opens all listeners, or none, and serves until the context ends or a listener fails. Then it
// stops in order: readiness fails, held streams are told (Draining), requests are answered to the
// end, connections are cut. It returns nil after a stop that was asked for.
func Serve(ctx context.Context, options Options, listeners ...Listener) error {
	log := options.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	open, err := openAll(ctx, listeners)
	if err != nil {
		return err
	}
	draining := make(chan struct{})
	base := context.WithValue(context.WithoutCancel(ctx), drainingKey{}, (<-chan struct{})(draining))
	servers, failed := make([]*http.Server, len(listeners)), make(chan error, len(listeners))
	var serving sync.WaitGroup
	for i, l := range listeners {
		servers[i] = &http.Server{
			Handler:           fewHeaders(l.Handler),
			ReadHeaderTimeout: headerTime,
			ReadTimeout:       cmp.Or(l.ReadTime, readTime),
			WriteTimeout:      l.WriteTime,
			IdleTimeout:       idleTime,
			MaxHeaderBytes:    maxHeaderBytes,
			HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
			// "OPTIONS *" is asked of the handler, as everything is.
			DisableGeneralOptionsHandler: true,
			BaseContext:                  func(net.Listener) context.Context { return base },
			// What net/http complains of holds clients' addresses and bytes, and any client can
			// make it complain.
			ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		}
		accepting := open[i]
		if l.Connections > 0 {
			accepting = netutil.LimitListener(accepting, l.Connections)
		}
		serving.Go(func() {
			if err := servers[i].Serve(accepting); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("couldn't go on serving %s: %w", l.Name, err)
			}
		})
		log.InfoContext(ctx, "listening", slog.String("name", l.Name), slog.String("address", open[i].Addr().String()))
	}
	if options.Started != nil {
		addresses := make([]net.Addr, len(open))
		for i := range open {
			addresses[i] = open[i].Addr()
		}
		options.Started(addresses)
	}

	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	if options.Health != nil {
		options.Health.Drain()
	}
	if err == nil && options.Drain > 0 {
		log.InfoContext(ctx, "draining", slog.Duration("for", options.Drain))
		select {
		case <-time.After(options.Drain):
		case err = <-failed:
		}
	}
	close(draining)
	stopping, cancel := context.WithTimeout(base, cmp.Or(options.Limit, 10*time.Second))
	defer cancel()
	var stops sync.WaitGroup
	for i, server := range servers {
		stops.Go(func() {
			if server.Shutdown(stopping) != nil {
				log.WarnContext(stopping, "cut off requests that did not end in time", slog.String("name", listeners[i].Name))
				_ = server.Close() // the connections are gone either way
			}
		})
	}
	stops.Wait()
	serving.Wait()
	return err
}

// fewHeaders refuses a request of very many header lines as net/http does one of very long ones: each line
// costs memory several times its length.
func fewHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lines := 0
		for _, values := range r.Header {
			lines += len(values)
		}
		if lines > maxHeaders {
			w.Header().Set("Connection", "close")
			http.Error(w, http.StatusText(http.StatusRequestHeaderFieldsTooLarge), http.StatusRequestHeaderFieldsTooLarge)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func openAll(ctx context.Context, listeners []Listener) ([]net.Listener, error) {
	var open []net.Listener
	for _, l := range listeners {
		listener, err := l.Open, error(nil)
		if listener == nil {
			listener, err = Listen(ctx, l.Name, l.Address)
		}
		if err != nil {
			for _, earlier := range open {
				_ = earlier.Close() // nothing was served on it
			}
			return nil, err
		}
		open = append(open, listener)
	}
	return open, nil
}

// Listen opens a TCP listener; its error names what for and the address, and is ErrPortTaken where
// that is the reason.
func Listen(ctx context.Context, name, address string) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("couldn't listen on %s for %s: %w; stop that, or choose another address", address, name, ErrPortTaken)
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't listen on %s for %s: %w", address, name, err)
	}
	return listener, nil
}

type drainingKey struct{}

// Draining is closed when the service that serves the request is stopping: a handler that holds a
// stream then ends it, so that the client comes back to another process. Never closed, for a request
// that Serve doesn't serve.
func Draining(ctx context.Context) <-chan struct{} {
	draining, _ := ctx.Value(drainingKey{}).(<-chan struct{})
	return draining
}

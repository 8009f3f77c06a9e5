package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Wire says what a proxy can tell of the bytes that it passes on.
type Wire struct {
	// Asks tells what begins a cast, of the flights of one client, the n-th from 0; nil for everything.
	Asks func(n int, flight []byte) bool
	// Answers tells an answer to a cast; nil for everything.
	Answers func(flight []byte) bool
}

var (
	// HTTP is between voters and an API server.
	HTTP = Wire{Asks: func(_ int, flight []byte) bool { return bytes.HasPrefix(flight, []byte("POST /v1/ballots")) }}
	// Sealed is between an API server and a ballot server. Inside of TLS nothing can be told apart but what is
	// no handshake any more, and too long to be an acknowledgement of HTTP/2's own.
	Sealed = Wire{
		Asks:    func(n int, _ []byte) bool { return n > 3 },
		Answers: func(flight []byte) bool { return len(flight) > 128 },
	}
	// Postgres is between a ballot server and its database: a cast is there what ends with COMMIT.
	Postgres = Wire{Answers: func(flight []byte) bool { return bytes.Contains(flight, []byte("COMMIT\x00")) }}
)

// Proxy stands between clients and a server, on loopback, and resets connections when told to.
type Proxy struct {
	wire     Wire
	listener net.Listener
	target   string
	resets   atomic.Int64

	// mu guards what follows.
	mu    sync.Mutex
	open  map[net.Conn]bool
	ended bool
	all   sync.WaitGroup
}

// Listen starts a proxy for the target, host:port.
func Listen(target string, wire Wire) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("couldn't listen: %w", err)
	}
	p := &Proxy{wire: wire, listener: l, target: target, open: map[net.Conn]bool{}}
	p.all.Go(p.accept)
	return p, nil
}

// Address is where it is, host:port.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// ResetCasts has the next n casts lose their connection when their answer comes.
func (p *Proxy) ResetCasts(n int) { p.resets.Store(int64(n)) }

// Left is how many are still to be reset.
func (p *Proxy) Left() int { return int(p.resets.Load()) }

// Close ends all connections.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.mu.Lock()
	p.ended = true
	for c := range p.open {
		err = errors.Join(err, closed(c))
	}
	p.mu.Unlock()
	p.all.Wait()
	return err
}

// closed closes a connection that may be closed.
func closed(c net.Conn) error {
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.all.Go(func() { p.serve(client) })
	}
}

// keep notes a connection, unless the proxy has ended, and returns how to let it go.
func (p *Proxy) keep(c net.Conn) (release func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		_ = c.Close() // nobody uses it
		return nil, false
	}
	p.open[c] = true
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, c)
		_ = closed(c) // either side may have ended it
	}, true
}

func (p *Proxy) serve(client net.Conn) {
	release, ok := p.keep(client)
	if !ok {
		return
	}
	defer release()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return // whoever is away cannot be reached through a proxy either
	}
	release, ok = p.keep(server)
	if !ok {
		return
	}
	defer release()
	var casting atomic.Bool
	var both sync.WaitGroup
	both.Go(func() {
		n := 0
		_ = pass(server, client, func(b []byte) bool {
			if p.wire.Asks == nil || p.wire.Asks(n, b) {
				casting.Store(true)
			}
			n++
			return true
		})
		_ = server.Close() // the client has gone
	})
	both.Go(func() {
		_ = pass(client, server, func(b []byte) bool {
			if p.wire.Answers != nil && !p.wire.Answers(b) {
				return true
			}
			return !casting.Swap(false) || !p.reset(client)
		})
		_ = client.Close() // the server has gone
	})
	both.Wait()
}

// reset resets the connection if casts are to lose theirs.
func (p *Proxy) reset(c net.Conn) bool {
	if p.resets.Add(-1) < 0 {
		p.resets.Add(1)
		return false
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // closing then sends RST
	}
	return true
}

// pass copies until either end is closed, or look forbids what was read.
func pass(to io.Writer, from io.Reader, look func([]byte) bool) error {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if n > 0 {
			if !look(b[:n]) {
				return nil
			}
			if _, err := to.Write(b[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

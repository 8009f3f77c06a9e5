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

// Proxy stands between voters and an API server, on loopback, and resets connections when told to. It
// passes bytes on and knows of HTTP only how a cast begins.
type Proxy struct {
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
func Listen(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("couldn't listen: %w", err)
	}
	p := &Proxy{listener: l, target: target, open: map[net.Conn]bool{}}
	p.all.Go(p.accept)
	return p, nil
}

// Origin is where voters find it.
func (p *Proxy) Origin() string { return "http://" + p.listener.Addr().String() }

// ResetCasts has the next n casts lose their connection when their answer comes.
func (p *Proxy) ResetCasts(n int) { p.resets.Store(int64(n)) }

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
		_ = pass(server, client, func(b []byte) bool {
			if bytes.HasPrefix(b, []byte("POST /v1/ballots")) {
				casting.Store(true)
			}
			return true
		})
		_ = server.Close() // the client has gone
	})
	both.Go(func() {
		_ = pass(client, server, func([]byte) bool { return !casting.Swap(false) || !p.reset(client) })
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

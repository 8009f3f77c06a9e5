package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// patience is how long one answer may take before the load counts it as failed.
const patience = 30 * time.Second

// conn is one keep-alive HTTP/1.1 connection that sends prepared bytes. The load shares two cores
// with what it measures, so it does without net/http's client: that would take a third of them.
type conn struct {
	address string
	tls     *tls.Config // nil speaks plainly
	from    net.Addr    // nil is any address
	net     net.Conn
	in      *bufio.Reader
	body    []byte
	close   bool
}

func dial(address string, secure *tls.Config) *conn {
	return &conn{address: address, tls: secure, in: bufio.NewReaderSize(nil, 4<<10)}
}

// connect makes the connection.
func (c *conn) connect() error {
	fresh, err := (&net.Dialer{Timeout: patience, LocalAddr: c.from}).Dial("tcp", c.address)
	if err != nil {
		return err
	}
	if c.tls != nil {
		secured := tls.Client(fresh, c.tls)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = fresh.Close() // nothing was said on it
			return err
		}
		fresh = secured
	}
	c.net, c.close = fresh, false
	c.in.Reset(fresh)
	return nil
}

func (c *conn) hangUp() {
	if c.net != nil {
		_ = c.net.Close() // there is nothing to lose on it
		c.net = nil
	}
}

// send writes one request.
func (c *conn) send(request []byte) error {
	if c.net == nil {
		if err := c.connect(); err != nil {
			return err
		}
	}
	if err := c.net.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := c.net.Write(request)
	return err
}

// receive reads one answer. The body is good until the next.
func (c *conn) receive() (status int, body []byte, err error) {
	status, length, chunked, err := c.head()
	switch {
	case err != nil:
	case chunked:
		err = c.chunks()
	case length >= 0:
		c.body = append(c.body[:0], make([]byte, length)...)
		_, err = io.ReadFull(c.in, c.body)
	default:
		err = errors.New("an answer without a length")
	}
	if err != nil || c.close {
		c.hangUp()
	}
	return status, c.body, err
}

// do sends a request and reads its answer.
func (c *conn) do(request []byte) (status int, body []byte, err error) {
	if err := c.send(request); err != nil {
		c.hangUp()
		return 0, nil, err
	}
	return c.receive()
}

func (c *conn) head() (status, length int, chunked bool, err error) {
	line, err := c.line()
	if err != nil {
		return 0, 0, false, err
	}
	if len(line) < 12 {
		return 0, 0, false, fmt.Errorf("not a status line: %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, 0, false, fmt.Errorf("not a status line: %q", line)
	}
	length = -1
	for {
		line, err := c.line()
		if err != nil {
			return 0, 0, false, err
		}
		if len(line) == 0 {
			return status, length, chunked, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = textproto.TrimBytes(value)
		switch {
		case is(name, "Content-Length"):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, 0, false, err
			}
		case is(name, "Transfer-Encoding"):
			chunked = is(value, "chunked")
		case is(name, "Connection"):
			c.close = is(value, "close")
		}
	}
}

func is(b []byte, s string) bool { return len(b) == len(s) && strings.EqualFold(string(b), s) }

func (c *conn) chunks() error {
	c.body = c.body[:0]
	for {
		line, err := c.line()
		if err != nil {
			return err
		}
		size, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil {
			return fmt.Errorf("not a chunk's size: %q", line)
		}
		start := len(c.body)
		c.body = append(c.body, make([]byte, size)...)
		if _, err := io.ReadFull(c.in, c.body[start:]); err != nil {
			return err
		}
		if _, err := c.line(); err != nil {
			return err
		}
		if size == 0 {
			return nil
		}
	}
}

// line reads one line without its end. It is good until the next read.
func (c *conn) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

// post builds a request with a JSON body.
func post(host, path, headers string, body []byte) []byte {
	b := make([]byte, 0, len(path)+len(headers)+len(body)+160)
	b = append(b, "POST "...)
	b = append(b, path...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, host...)
	b = append(b, "\r\nContent-Type: application/json\r\n"...)
	b = append(b, headers...)
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, body...)
}

func get(host, path, headers string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n" + headers + "\r\n")
}

package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/service"
)

// served puts the world's server behind the listener that it has in production, and returns its address.
func (w *world) served() string {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	at, ended := make(chan []net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- service.Serve(ctx, service.Options{Started: func(a []net.Addr) { at <- a }}, service.Listener{
			Name: "voters", Address: "127.0.0.1:0", Handler: w.server.Handler(), WriteTime: WriteTime, Connections: MaxConnections,
		})
	}()
	w.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	})
	select {
	case a := <-at:
		return a[0].String()
	case err := <-ended:
		w.t.Fatal(err)
		return ""
	}
}

// exchange writes bytes and returns the statuses of all answers until the server ends the connection, or has
// nothing more to say.
func exchange(t *testing.T, address, sent string) (statuses []int, ended bool) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, sent); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(conn)
	for {
		_ = conn.SetReadDeadline(time.Now().Add(3 * time.Second))
		if _, err := answers.Peek(1); err != nil {
			netErr, waiting := errors.AsType[net.Error](err)
			return statuses, !waiting || !netErr.Timeout()
		}
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		answer, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatalf("after %v: %v", statuses, err)
		}
		statuses = append(statuses, answer.StatusCode)
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
	}
}

// hidden is a request inside another one's body: whoever answers it has been smuggled past.
const hidden = "GET /v1/polls HTTP/1.1\r\nHost: x\r\n\r\n"

// TestNothingIsSmuggledPast: what a proxy and this server could cut up differently is refused, and nothing
// after it is answered.
func TestNothingIsSmuggledPast(t *testing.T) {
	w := newWorld(t)
	address := w.served()
	post := func(headers, body string) string {
		return "POST /v1/ballots HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + headers + "\r\n" + body + hidden
	}
	for name, one := range map[string]struct {
		sent string
		want int
	}{
		"a length and chunks":           {post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 411},
		"chunks and a length":           {post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), 411},
		"chunks":                        {post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"), 411},
		"chunks on a page":              {"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, 411},
		"chunks of an old client":       {"POST /v1/ballots HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden, 401},
		"two lengths":                   {post("Content-Length: 0\r\nContent-Length: 5\r\n", ""), 400},
		"two lengths in one":            {post("Content-Length: 0, 5\r\n", ""), 400},
		"a length with a sign":          {post("Content-Length: +0\r\n", ""), 400},
		"a length in hexadecimal":       {post("Content-Length: 0x0\r\n", ""), 400},
		"an empty length":               {post("Content-Length:\r\n", ""), 400},
		"a space before the colon":      {post("Content-Length : 5\r\n", ""), 400},
		"a folded header":               {post("X-A: b\r\n Content-Length: 5\r\n", ""), 0},
		"a NUL in a header":             {post("X-A: \x00\r\n", ""), 400},
		"a bare CR in a header":         {post("X-A: a\rContent-Length: 5\r\n", ""), 400},
		"a header without a name":       {post(": a\r\n", ""), 400},
		"no host":                       {"GET /v1/polls HTTP/1.1\r\n\r\n" + hidden, 400},
		"two hosts":                     {"GET /v1/polls HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + hidden, 400},
		"a host with a path":            {"GET /v1/polls HTTP/1.1\r\nHost: a/b\r\n\r\n" + hidden, 400},
		"a target that is not escaped":  {"GET /v1/%zz HTTP/1.1\r\nHost: x\r\n\r\n" + hidden, 400},
		"a line of no HTTP":             {"GET /v1/polls\r\n\r\n" + hidden, 400},
		"a method that is none":         {"G@T /v1/polls HTTP/1.1\r\nHost: x\r\n\r\n" + hidden, 400},
		"a header longer than is read":  {"GET /v1/polls HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 40<<10) + "\r\n\r\n", 431},
		"more headers than anyone has":  {"GET /v1/polls HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", 200) + "\r\n" + hidden, 431},
		"more different headers":        {"GET /v1/polls HTTP/1.1\r\nHost: x\r\n" + manyHeaders(200) + "\r\n" + hidden, 431},
		"a body larger than its length": {"POST /v1/ballots HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n" + hidden, 401},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ended := exchange(t, address, one.sent)
			if one.want == 0 { // net/http unfolds it: then it is one request with one header, and the next one is the next
				if !slices.Equal(got, []int{401, 200}) {
					t.Errorf("answers %v", got)
				}
				return
			}
			if !slices.Equal(got, []int{one.want}) || !ended {
				t.Errorf("answers %v, ended: %v, want %d and the end", got, ended, one.want)
			}
		})
	}
}

func manyHeaders(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "X-%d: y\r\n", i)
	}
	return b.String()
}

// TestMethodsNobodyNeeds: each is refused by name wherever it is tried, TRACE first of all.
func TestMethodsNobodyNeeds(t *testing.T) {
	w := newWorld(t)
	address := w.served()
	for _, line := range []string{
		"TRACE /v1/polls", "TRACE /v1/ballots", "PUT /v1/ballots", "DELETE /v1/polls", "PATCH /v1/polls", "PROPFIND /v1/polls", "POST /v1/polls",
		"GET /v1/ballots", "HEAD /v1/ballots", "OPTIONS /v1/ballots",
	} {
		if got, _ := exchange(t, address, line+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); len(got) != 1 || got[0] != http.StatusMethodNotAllowed {
			t.Errorf("%s: %v, want 405", line, got)
		}
	}
	for _, line := range []string{"OPTIONS *", "CONNECT x:443", "PRI *"} {
		if got, _ := exchange(t, address, line+" HTTP/1.1\r\nHost: x:443\r\nConnection: close\r\n\r\n"); len(got) != 1 || got[0] < 400 || got[0] > 499 {
			t.Errorf("%s: %v, want 4xx", line, got)
		}
	}
}

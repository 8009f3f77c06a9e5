package edge

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// smuggling: HAProxy and a server never cut one client's bytes into different requests: who sends what is
// malformed is told so, never that something broke, and each answer is one request's of the server's.
func smuggling(t *testing.T, e *edge, backends ...*backend) {
	const head = "POST /cut HTTP/1.1\r\nHost: vote.example.org\r\nX-Test: NAME\r\n"
	for name, one := range map[string]struct {
		sent    string
		refused bool // with its first answer
	}{
		"one request and another":       {head + "Content-Length: 5\r\n\r\n01234", false},
		"a length and chunks":           {head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
		"chunks and a length":           {head + "Transfer-Encoding: chunked\r\nContent-Length: 50\r\n\r\n0\r\n\r\n", false},
		"two lengths":                   {head + "Content-Length: 0\r\nContent-Length: 5\r\n\r\n", true},
		"two lengths in one":            {head + "Content-Length: 0, 5\r\n\r\n", true},
		"a length with a sign":          {head + "Content-Length: +0\r\n\r\n", true},
		"a length in hexadecimal":       {head + "Content-Length: 0x0\r\n\r\n", true},
		"chunks of another kind":        {head + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", true},
		"chunks twice":                  {head + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", true},
		"chunks before another coding":  {head + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", true},
		"chunks with a space before":    {head + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", true},
		"chunks of an old client":       {strings.Replace(head, "1.1", "1.0", 1) + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true},
		"a chunk that ends in one LF":   {head + "Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n", true},
		"a chunk of no size":            {head + "Transfer-Encoding: chunked\r\n\r\n;\r\n\r\n", true},
		"a chunk larger than any":       {head + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n", true},
		"a NUL in a header":             {head + "X-A: \x00\r\nContent-Length: 0\r\n\r\n", true},
		"a bare CR in a header":         {head + "X-A: a\rContent-Length: 5\r\n\r\n", true},
		"a header without a name":       {head + ": a\r\n\r\n", true},
		"two hosts":                     {head + "Host: evil.example\r\nContent-Length: 0\r\n\r\n", true},
		"a target with a space":         {strings.Replace(head, "/cut", "/cut /v1/polls", 1) + "Content-Length: 0\r\n\r\n", true},
		"a version that does not exist": {strings.Replace(head, "HTTP/1.1", "HTTP/7.7", 1) + "Content-Length: 0\r\n\r\n", true},
		"a line of no HTTP":             {"\x16\x03\x01\x02\x00\r\n\r\n", true},
		"a header longer than is read":  {head + "X-A: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := strings.ReplaceAll(one.sent+"GET /hidden HTTP/1.1\r\nHost: vote.example.org\r\nX-Test: NAME\r\n\r\n", "NAME", t.Name())
			raw, err := e.from(e.address())(context.Background(), "tcp", e.https)
			if err != nil {
				t.Fatal(err)
			}
			connection := tls.Client(raw, &tls.Config{RootCAs: e.roots, ServerName: "vote.example.org", NextProtos: []string{"http/1.1"}})
			defer connection.Close()
			io.WriteString(connection, sent)
			var statuses []int
			taken := 0 // answers of a server
			for answers := bufio.NewReader(connection); ; {
				connection.SetReadDeadline(time.Now().Add(2 * time.Second))
				answer, err := http.ReadResponse(answers, nil)
				if err != nil {
					break // it has nothing more to say, or has ended
				}
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
				statuses = append(statuses, answer.StatusCode)
				if answer.Header.Get("X-Backend") != "" {
					taken++
				}
			}
			if len(statuses) == 0 {
				t.Fatal("there is no answer")
			}
			for _, status := range statuses {
				if status != 200 && (status < 400 || status > 499) {
					t.Errorf("answers %v", statuses)
				}
			}
			if one.refused && (statuses[0] < 400 || len(statuses) > 1) {
				t.Errorf("answers %v, want one of 4xx", statuses)
			}
			if got := asked(t.Name(), backends...); got > taken && !one.refused || got > 1 && one.refused {
				t.Errorf("the servers got %d requests, and answered %d: %v", got, taken, statuses)
			}
		})
	}
}

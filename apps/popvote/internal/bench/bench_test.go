package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/challenge"
	"github.com/popvote/popvote/libs/identity"
)

// Voters who are not who they say would measure the error path.
func TestMadeUpVotersAreValid(t *testing.T) {
	scheme, _ := identity.Lookup("hkid")
	seen := map[string]bool{}
	for _, n := range []int64{0, 1, 7, 999_999, 1_000_000, 2_999_999, 25_999_999} {
		id := hkid(n)
		if _, err := scheme.Canonical(id); err != nil {
			t.Errorf("identity number %d, %s: %v", n, id, err)
		}
		if seen[id] {
			t.Errorf("%s twice", id)
		}
		seen[id] = true
	}
	for n := int64(0); n < 3_000_000; n += 9973 {
		if _, err := identity.ParsePhone(mobile(n), "HK"); err != nil {
			t.Errorf("phone %d, %s: %v", n, mobile(n), err)
		}
	}
}

func TestConnReadsWhatServersWrite(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/stream":
			w.WriteHeader(http.StatusOK)
			for _, part := range []string{": ping\n\n", "event: verified\n", "data: {}\n\n"} {
				_, _ = w.Write([]byte(part))
				w.(http.Flusher).Flush()
			}
		case "/gone":
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusConflict)
		default:
			body := make([]byte, r.ContentLength)
			_, _ = r.Body.Read(body)
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write(body)
		}
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer secure.Close()
	for name, c := range map[string]*conn{
		"plain": dial(plain.Listener.Addr().String(), nil),
		"TLS":   dial(secure.Listener.Addr().String(), &tls.Config{RootCAs: secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"}),
	} {
		t.Run(name, func(t *testing.T) {
			defer c.hangUp()
			for range 2 { // the second time over what the first left of the connection
				status, body, err := c.do(post("h", "/echo", "", []byte(`{"a":1}`)))
				if err != nil || status != 201 || string(body) != `{"a":1}` {
					t.Fatal(status, string(body), err)
				}
				status, body, err = c.do(get("h", "/stream", ""))
				if err != nil || status != 200 || !strings.HasSuffix(string(body), "data: {}\n\n") {
					t.Fatal(status, string(body), err)
				}
				if status, _, err = c.do(get("h", "/gone", "")); err != nil || status != 409 {
					t.Fatal(status, err)
				}
			}
		})
	}
	if err := dial(secure.Listener.Addr().String(), &tls.Config{ServerName: "example.com"}).connect(); err == nil {
		t.Error("it trusts a certificate that nobody knows")
	}
}

func TestConnSaysWhatBroke(t *testing.T) {
	for _, answer := range []string{"", "junk\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"} {
		c := &conn{in: bufio.NewReader(strings.NewReader(answer))}
		if _, _, err := c.receive(); err == nil {
			t.Errorf("%q was read as an answer", answer)
		}
	}
}

func TestClosedLoopDoesEachUnitOnce(t *testing.T) {
	done := make([]int32, 100)
	s := closedLoop(context.Background(), connect(4, func() (work, func()) {
		return func(n int64) string { done[n]++; return ok }, func() {}
	}), time.Minute, 100)
	for n, times := range done {
		if times != 1 {
			t.Errorf("unit %d was done %d times", n, times)
		}
	}
	if len(s.took) != 100 || s.outcomes[ok] != 100 {
		t.Error(len(s.took), s.outcomes)
	}
}

// A server that stalls must cost every vote that was due meanwhile, not only the one that waited.
func TestOpenLoopSeesAStall(t *testing.T) {
	const stall = 200 * time.Millisecond
	s := openLoop(context.Background(), connect(1, func() (work, func()) {
		return func(n int64) string {
			if n == 5 {
				time.Sleep(stall)
			}
			return ok
		}, func() {}
	}), 100, 30)
	late := 0
	for _, d := range s.took {
		if d > stall/4 {
			late++
		}
	}
	if late < 8 {
		t.Errorf("a stall of %s delayed %d of 30 arrivals at 100/s", stall, late)
	}
}

func TestMediansAndRatios(t *testing.T) {
	round := func(echo, casts float64) Round {
		return Round{Phases: []Phase{{Mode: modeEcho, Loop: closed, PerSecond: echo}, {Mode: modeCasts, Loop: closed, PerSecond: casts}}}
	}
	r := Report{Rounds: []Round{round(100, 50), round(200, 60), round(50, 40)}}
	if m := r.Medians(); m[1].PerSecond != 50 {
		t.Errorf("median of casts: %+v", m[1])
	}
	ratios := r.ratios()
	if len(ratios) != 1 || ratios[0] != (Ratio{Of: modeCasts, To: modeEcho, Median: 0.5, Low: 0.3, High: 0.8}) {
		t.Errorf("ratios: %+v", ratios)
	}
}

// Rounds that agree leave no doubt; a single wild one among many does not move the middle.
func TestIntervals(t *testing.T) {
	if low, high := interval([]float64{2, 2, 2, 2}); low != 2 || high != 2 {
		t.Errorf("of equals: %g to %g", low, high)
	}
	if low, high := interval([]float64{1, 1.1, 0.9, 1, 1.05, 0.95, 1, 1.02, 0.98, 50}); low < 0.9 || high > 1.2 {
		t.Errorf("with one outlier: %g to %g", low, high)
	}
}

func TestPlainServerIsNoInstance(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler()}
	go func() { _ = server.Serve(l) }()
	defer func() { _ = server.Close() }()
	if _, err := joinInstance(context.Background(), Target{API: l.Addr().String(), Poll: "x"}); err == nil {
		t.Error("joined a server without polls")
	}
}

// What the benchmark solves its own way has to be what the server takes.
func TestSolve(t *testing.T) {
	issuer := challenge.NewIssuer([32]byte{1}, time.Now)
	for _, cost := range []int{1, 2} { // the second by the library
		for range 5 {
			issued, err := json.Marshal(issuer.Issue(cost))
			if err != nil {
				t.Fatal(err)
			}
			solved, err := solve(issued)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := issuer.Verify(solved); err != nil {
				t.Errorf("cost %d: %v", cost, err)
			}
		}
	}
}

func BenchmarkSolve(b *testing.B) {
	issuer := challenge.NewIssuer([32]byte{1}, time.Now)
	for b.Loop() {
		issued, err := json.Marshal(issuer.Issue(1))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := solve(issued); err != nil {
			b.Fatal(err)
		}
	}
}

package service

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// started serves until the test ends, and returns the first listener's address and what stops it.
func started(t *testing.T, options Options, listeners ...Listener) (address string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	addresses, ended := make(chan []net.Addr, 1), make(chan error, 1)
	options.Started = func(a []net.Addr) { addresses <- a }
	go func() { ended <- Serve(ctx, options, listeners...) }()
	select {
	case a := <-addresses:
		return a[0].String(), func() error {
			cancel()
			return <-ended
		}
	case err := <-ended:
		t.Fatalf("couldn't start: %v", err)
		return "", nil
	}
}

func TestServeNamesATakenPortAndOpensNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := taken.Addr().String()
	err = Serve(t.Context(), Options{},
		Listener{Name: "voter API", Open: free, Handler: http.NotFoundHandler()},
		Listener{Name: "control panel", Address: address, Handler: http.NotFoundHandler()})
	if !errors.Is(err, ErrPortTaken) || !strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), "control panel") {
		t.Errorf("got %v", err)
	}
	if _, err := free.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the other listener was left open: %v", err)
	}
}

func TestServeEndsAnsweringBeforeItStops(t *testing.T) {
	inside, release := make(chan struct{}), make(chan struct{})
	health := &Health{}
	address, stop := started(t, Options{Health: health}, Listener{Name: "test", Address: "127.0.0.1:0", Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			close(inside)
			<-Draining(r.Context())
			<-release
			if r.Context().Err() == nil {
				_, _ = io.WriteString(w, "done")
			}
		})})
	answer := make(chan string, 1)
	go func() {
		response, err := http.Get("http://" + address)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		answer <- string(body)
	}()
	<-inside
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	for health.Readiness(t.Context()).State != StateDraining {
		time.Sleep(time.Millisecond)
	}
	close(release)
	if got := <-answer; got != "done" {
		t.Errorf("the request under way got %q", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("a stop that was asked for failed: %v", err)
	}
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("it still listens")
	}
}

func TestServeCutsOffWhatDoesNotEnd(t *testing.T) {
	inside := make(chan struct{})
	address, stop := started(t, Options{Limit: 20 * time.Millisecond}, Listener{Name: "test", Address: "127.0.0.1:0", Handler: http.HandlerFunc(
		func(_ http.ResponseWriter, r *http.Request) {
			close(inside)
			<-r.Context().Done()
		})})
	failed := make(chan error, 1)
	go func() {
		response, err := http.Get("http://" + address)
		if err == nil {
			response.Body.Close()
		}
		failed <- err
	}()
	<-inside
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := <-failed; err == nil {
		t.Error("the request was answered")
	}
}

func TestServeDrainsBeforeItStopsListening(t *testing.T) {
	health := &Health{}
	address, stop := started(t, Options{Health: health, Drain: 200 * time.Millisecond},
		Listener{Name: "admin", Address: "127.0.0.1:0", Handler: AdminHandler(health, NewMetrics("test"))})
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	for health.Readiness(t.Context()).State != StateDraining {
		time.Sleep(time.Millisecond)
	}
	response, err := http.Get("http://" + address + "/readyz")
	if err != nil {
		t.Fatalf("it took no more work while draining: %v", err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("/readyz says %d while draining", response.StatusCode)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// The read timeout is for requests that trickle in, not for streams that are held.
func TestServeHoldsAStreamPastTheReadTimeout(t *testing.T) {
	const readTime = 50 * time.Millisecond
	address, stop := started(t, Options{}, Listener{Name: "test", Address: "127.0.0.1:0", ReadTime: readTime, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-time.After(4 * readTime):
				_, _ = io.WriteString(w, "held")
			}
		})})
	response, err := http.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	response.Body.Close()
	if string(body) != "held" {
		t.Errorf("the stream ended with %q", body)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestServeCutsOffARequestThatTricklesIn(t *testing.T) {
	const readTime = 50 * time.Millisecond
	address, stop := started(t, Options{}, Listener{Name: "test", Address: "127.0.0.1:0", ReadTime: readTime, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(r.Body); err == nil {
				t.Error("the body that never came was read")
			}
		})})
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestServeRefusesHugeHeaders(t *testing.T) {
	address, stop := started(t, Options{}, Listener{Name: "test", Address: "127.0.0.1:0", Handler: http.NotFoundHandler()})
	request, err := http.NewRequest(http.MethodGet, "http://"+address, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Junk", strings.Repeat("x", 2*maxHeaderBytes))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("got %s", response.Status)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestReadinessTellsDegradedFromUnready(t *testing.T) {
	down := errors.New("down")
	var databaseError, smsError error
	health := &Health{}
	health.Need("database", func(context.Context) error { return databaseError })
	health.Want("sms", func(context.Context) error { return smsError })
	for _, one := range []struct {
		database, sms error
		state         string
		status        int
	}{
		{nil, nil, StateReady, 200},
		{nil, down, StateDegraded, 200},
		{down, nil, StateUnready, 503},
		{down, down, StateUnready, 503},
	} {
		databaseError, smsError = one.database, one.sms
		answer := httptest.NewRecorder()
		AdminHandler(health, NewMetrics("test")).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		var got Readiness
		if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.State != one.state || answer.Code != one.status || len(got.Checks) != 2 {
			t.Errorf("database %v, sms %v: %d %+v", one.database, one.sms, answer.Code, got)
		}
	}
}

func TestReadinessDoesNotWaitForAHangingCheck(t *testing.T) {
	health := &Health{}
	health.Want("stuck", func(context.Context) error { select {} })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if got := health.Readiness(ctx); got.State != StateDegraded {
		t.Errorf("got %+v", got)
	}
}

func TestAdminAnswersProbes(t *testing.T) {
	handler := AdminHandler(&Health{}, NewMetrics("sms-gateway"))
	for path, want := range map[string]string{
		"/livez":   "ok\n",
		"/readyz":  `"state":"ready"`,
		"/version": `"version":"dev"`,
		"/metrics": `popvote_build_info{go="go`,
	} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		if answer.Code != http.StatusOK || !strings.Contains(answer.Body.String(), want) {
			t.Errorf("%s: %d %.200s", path, answer.Code, answer.Body)
		}
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/readyz", nil))
	if answer.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST /readyz: %d", answer.Code)
	}
}

func TestLoggerNamesTheServiceAndRefusesNonsense(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLogger(&out, "sms-gateway", DefaultLog())
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("unseen")
	log.Info("seen")
	if got := out.String(); strings.Contains(got, "unseen") || !strings.Contains(got, `"msg":"seen","service":"sms-gateway"`) {
		t.Errorf("got %s", got)
	}
	for _, config := range []LogConfig{{"loud", "json"}, {"info", "xml"}, {}} {
		if _, err := NewLogger(&out, "x", config); err == nil {
			t.Errorf("%+v was taken", config)
		}
	}
}

func TestServeRefusesManyHeaders(t *testing.T) {
	address, stop := started(t, Options{}, Listener{Name: "test", Address: "127.0.0.1:0", Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})})
	for lines, want := range map[int]int{maxHeaders - 10: http.StatusOK, maxHeaders + 1: http.StatusRequestHeaderFieldsTooLarge} {
		request, err := http.NewRequest(http.MethodGet, "http://"+address, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range lines {
			request.Header.Add("X-Junk", "x")
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%d lines: got %s", lines, response.Status)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// A client that takes nothing of a large answer is cut off.
func TestServeCutsOffWhoDoesNotRead(t *testing.T) {
	failed := make(chan error, 1)
	address, stop := started(t, Options{}, Listener{Name: "test", Address: "127.0.0.1:0", WriteTime: 100 * time.Millisecond, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) {
			_, err := w.Write(make([]byte, 64<<20)) // more than the system's buffers take
			failed <- err
		})})
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err == nil {
		t.Error("the answer was written to nobody")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// A connection beyond the limit is served once another one has ended.
func TestServeHoldsSoManyConnections(t *testing.T) {
	address, stop := started(t, Options{}, Listener{Name: "test", Address: "127.0.0.1:0", Connections: 2, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})})
	dial := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	answered := func(conn net.Conn, within time.Duration) bool {
		_ = conn.SetReadDeadline(time.Now().Add(within))
		_, err := conn.Read(make([]byte, 1))
		return err == nil
	}
	first, second := dial(), dial()
	if !answered(first, 5*time.Second) || !answered(second, 5*time.Second) {
		t.Fatal("the first two are not answered")
	}
	third := dial()
	if answered(third, 100*time.Millisecond) {
		t.Error("a third is answered beside them")
	}
	first.Close()
	if !answered(third, 5*time.Second) {
		t.Error("the third is not answered after the first has ended")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// Over HTTP/2 one connection has so many requests under way, and a client with more opens another.
func TestServeBoundsTheStreamsOfAConnection(t *testing.T) {
	certified := httptest.NewTLSServer(nil) // for its certificate
	defer certified.Close()
	open, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	under, connections, release := map[string]int{}, make(chan struct{}, maxStreams+1), make(chan struct{})
	address, stop := started(t, Options{}, Listener{Name: "test", Open: tls.NewListener(open, &tls.Config{
		Certificates: certified.TLS.Certificates, NextProtos: []string{"h2"},
	}), Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		under[r.RemoteAddr]++
		mu.Unlock()
		connections <- struct{}{}
		<-release
	})})
	transport := certified.Client().Transport.(*http.Transport).Clone()
	transport.ForceAttemptHTTP2 = true
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	for range maxStreams + 1 {
		all.Go(func() {
			response, err := client.Get("https://" + address)
			if err != nil {
				t.Error(err)
				return
			}
			response.Body.Close()
		})
	}
	for range maxStreams + 1 {
		<-connections
	}
	mu.Lock()
	for from, n := range under {
		if n > maxStreams {
			t.Errorf("%s has %d requests under way", from, n)
		}
	}
	if len(under) < 2 {
		t.Errorf("%d connections", len(under))
	}
	mu.Unlock()
	close(release)
	all.Wait()
	client.CloseIdleConnections()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

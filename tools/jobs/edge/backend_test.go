package edge

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// backend stands where an API server does.
type backend struct {
	name   string
	public net.Listener
	admin  net.Listener
	frozen atomic.Bool  // it takes connections, and answers nothing any more
	checks atomic.Int32 // how often it was asked for readiness since it froze

	mutex sync.Mutex
	asked map[string]int // requests by X-Test
}

// verified is closed when the streams of voters who text (X-Texts) are to say so.
var verified = make(chan struct{})

func newBackend(t *testing.T, name string) *backend {
	b := &backend{name: name, asked: map[string]int{}}
	for listener, handler := range map[*net.Listener]http.HandlerFunc{&b.public: b.serve, &b.admin: b.ready} {
		open, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*listener = open
		server := &http.Server{Handler: handler}
		go server.Serve(open)
		t.Cleanup(func() { server.Close() })
	}
	return b
}

func (b *backend) ready(w http.ResponseWriter, r *http.Request) {
	if b.frozen.Load() {
		b.checks.Add(1)
		<-r.Context().Done()
	}
}

// serve is what the tests need of a server: an echo, a stream, silence, and connections that break.
func (b *backend) serve(w http.ResponseWriter, r *http.Request) {
	if b.frozen.Load() {
		<-r.Context().Done()
		return
	}
	test := r.Header.Get("X-Test")
	b.mutex.Lock()
	b.asked[test]++
	b.mutex.Unlock()
	w.Header().Set("X-Backend", b.name)
	switch r.URL.Path {
	case "/break", "/hooks/break":
		connection, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			connection.Close()
		}
	case "/busy":
		w.WriteHeader(http.StatusServiceUnavailable)
	case "/silent":
		<-r.Context().Done()
	case "/v1/verification":
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "retry: 1000\n\n")
		http.NewResponseController(w).Flush()
		var texted chan struct{}
		if r.Header.Get("X-Texts") != "" {
			texted = verified
		}
		select {
		case <-texted:
			io.WriteString(w, "event: verified\n\n")
		case <-r.Context().Done():
		}
	default:
		json.NewEncoder(w).Encode(r.Header)
	}
}

func asked(test string, backends ...*backend) (n int) {
	for _, b := range backends {
		b.mutex.Lock()
		n += b.asked[test]
		b.mutex.Unlock()
	}
	return n
}

// register puts an API server into the catalogue, as Nomad does.
func (e *edge) register(b *backend, cloud string, tags ...string) {
	e.Helper()
	e.registerAs("api-server", b, cloud, tags...)
}

func (e *edge) registerAs(service string, b *backend, cloud string, tags ...string) {
	e.Helper()
	port := func(at net.Listener) int { return at.Addr().(*net.TCPAddr).Port }
	e.catalogue(service, b.name, port(b.public), port(b.admin), cloud, tags...)
}

func (e *edge) catalogue(service, id string, port, admin int, cloud string, tags ...string) {
	e.Helper()
	e.consul.Must("PUT", "/v1/agent/service/register", map[string]any{
		"ID": id, "Name": service, "Address": "127.0.0.1", "Port": port, "Tags": tags,
		"Meta":  map[string]string{"cloud": cloud, "admin": fmt.Sprint(admin)},
		"Check": map[string]any{"CheckID": id, "TTL": "10m", "Status": "passing"},
	}, nil)
}

// deregister takes servers out of the catalogue.
func (e *edge) deregister(ids ...string) {
	e.Helper()
	for _, id := range ids {
		e.consul.Must("PUT", "/v1/agent/service/deregister/"+id, nil, nil)
	}
}

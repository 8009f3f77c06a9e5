package overhttp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/discovery"
	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/mtls/devca"
	"github.com/popvote/popvote/libs/sms"
)

// provider keeps what it was given, and answers with err.
type provider struct {
	got []sms.Message
	err error
}

func (p *provider) Send(_ context.Context, m sms.Message) error {
	p.got = append(p.got, m)
	return p.err
}

// certificates returns the files of a service, by name.
func certificates(t *testing.T) func(service string) *mtls.Files {
	t.Helper()
	dir := t.TempDir()
	services := []string{"sms-gateway", "api-server", "control-panel"}
	if _, err := devca.Make(devca.Config{Dir: dir, Services: services, Clock: time.Now}); err != nil {
		t.Fatal(err)
	}
	return func(service string) *mtls.Files {
		f, err := mtls.Load(filepath.Join(dir, service), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
}

// serve answers over mutual TLS, and returns the address.
func serve(t *testing.T, f *mtls.Files, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	go s.Serve(tls.NewListener(l, f.Server()))
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

func at(t *testing.T, f *mtls.Files, addresses ...string) *Client {
	t.Helper()
	instances := make([]discovery.Instance, len(addresses))
	for i, a := range addresses {
		instances[i].Address = a
	}
	finder, err := discovery.NewStatic(map[string][]discovery.Instance{Service: instances})
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(ClientConfig{Finder: finder, TLS: f.Client(Service), Clock: time.Now})
	t.Cleanup(c.Close)
	return c
}

var code = sms.Message{ID: "m1", To: "+85291234567", Text: "123456 is your code 投票", Lang: "zh-HK", Deadline: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)}

func TestAMessageArrivesAsItWasGiven(t *testing.T) {
	files, p := certificates(t), &provider{}
	address := serve(t, files("sms-gateway"), NewHandler(p, []string{"api-server"}, slog.New(slog.DiscardHandler)))
	if err := at(t, files("api-server"), address).Send(t.Context(), code); err != nil {
		t.Fatal(err)
	}
	if len(p.got) != 1 || p.got[0] != code {
		t.Errorf("%d messages, or another one", len(p.got))
	}
	call := code
	call.Kind = sms.ByCall
	if err := at(t, files("api-server"), address).Send(t.Context(), call); err != nil {
		t.Fatal(err)
	}
	if len(p.got) != 2 || p.got[1] != call {
		t.Errorf("%d messages, or not as a call", len(p.got))
	}
	call.Kind = "pigeon"
	if err := at(t, files("api-server"), address).Send(t.Context(), call); err == nil || len(p.got) != 2 {
		t.Errorf("a kind that there isn't: %v", err)
	}
}

func TestOnlyWhoIsListedSends(t *testing.T) {
	files, p := certificates(t), &provider{}
	address := serve(t, files("sms-gateway"), NewHandler(p, []string{"api-server"}, slog.New(slog.DiscardHandler)))
	if err := at(t, files("control-panel"), address).Send(t.Context(), code); !errors.Is(err, ErrForbidden) {
		t.Errorf("the panel: %v", err)
	}
	// Whoever answers in the gateway's place with another certificate gets no number.
	impostor := serve(t, files("control-panel"), NewHandler(p, []string{"api-server"}, slog.New(slog.DiscardHandler)))
	if err := at(t, files("api-server"), impostor).Send(t.Context(), code); !errors.Is(err, mtls.ErrWrongService) || errors.Is(err, sms.ErrUnknown) {
		t.Errorf("an impostor: %v", err)
	}
	if len(p.got) != 0 {
		t.Error("it was sent")
	}
}

// TestWhatAFailureMeans: another gateway is asked if and only if the first has certainly not sent it.
func TestWhatAFailureMeans(t *testing.T) {
	files := certificates(t)
	gateway, api := files("sms-gateway"), files("api-server")
	cut := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	handler := func(err error) http.Handler {
		return NewHandler(&provider{err: err}, []string{"api-server"}, slog.New(slog.DiscardHandler))
	}
	for name, c := range map[string]struct {
		address string
		unknown bool
	}{
		"nobody listens":        {free.Addr().String(), false},
		"no provider took it":   {serve(t, gateway, handler(errors.New("no"))), false},
		"a provider may have":   {serve(t, gateway, handler(fmt.Errorf("late: %w", sms.ErrUnknown))), true},
		"cut off in the middle": {serve(t, gateway, cut), true},
	} {
		err := at(t, api, c.address).Send(t.Context(), code)
		if err == nil || errors.Is(err, sms.ErrUnknown) != c.unknown || errors.Is(err, ErrUnavailable) == c.unknown {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(err.Error(), "9123") || strings.Contains(err.Error(), "123456") {
			t.Errorf("%s: the error says whom, or what", name)
		}
		for range 10 { // whichever comes first
			p := &provider{}
			other := serve(t, gateway, NewHandler(p, []string{"api-server"}, slog.New(slog.DiscardHandler)))
			err := at(t, api, c.address, other).Send(t.Context(), code)
			if sent := len(p.got) == 1; sent != (err == nil) || !c.unknown && !sent || err != nil && !errors.Is(err, sms.ErrUnknown) {
				t.Errorf("%s, with another: %v, sent %v", name, err, sent)
			}
		}
	}
	if err := at(t, api).Send(t.Context(), code); !errors.Is(err, ErrUnavailable) {
		t.Errorf("no gateway at all: %v", err)
	}
}

func TestBodiesAreReadStrictly(t *testing.T) {
	files, p := certificates(t), &provider{}
	address := serve(t, files("sms-gateway"), NewHandler(p, []string{"api-server"}, slog.New(slog.DiscardHandler)))
	c := at(t, files("api-server"), address)
	const good = `{"id":"a","to":"+85291234567","text":"x","lang":"en","deadline":"2030-01-02T03:04:05Z"}`
	for body, want := range map[string]int{
		good:                                    http.StatusNoContent,
		strings.Replace(good, `"a"`, `""`, 1):   http.StatusBadRequest,
		strings.Replace(good, `+852`, `852`, 1): http.StatusBadRequest,
		strings.Replace(good, `"lang"`, `"language"`, 1): http.StatusBadRequest,
		good + good: http.StatusBadRequest,
		`{"text":"` + strings.Repeat("x", maxBody) + `"}`: http.StatusBadRequest,
		`{`: http.StatusBadRequest,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+sendPath, bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		w, err := c.transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, w.Body)
		w.Body.Close()
		if w.StatusCode != want {
			t.Errorf("%.100s: %d, want %d", body, w.StatusCode, want)
		}
	}
	if len(p.got) != 1 {
		t.Errorf("%d were sent", len(p.got))
	}
}

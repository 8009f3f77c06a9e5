// Package wiretest is what the tests of providers that speak HTTP share: somebody who receives, files with
// secrets, and a provider that fails in all the ways in which one can.
package wiretest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/libs/sms"
)

// Now is what the clocks of tests say.
var Now = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// Message is a message whose number, text and id appear in nothing that is written.
var Message = sms.Message{ID: "m-1", To: "+85291234567", Text: "【投票】驗證碼 481516", Lang: "zh-HK", Deadline: Now.Add(5 * time.Minute)}

// private are the parts of it, and of the secrets, that must not be written.
var private = []string{"91234567", "481516", "hunter2"}

// Everybody receives messages and receipts. Safe for concurrent use.
type Everybody struct {
	mu       sync.Mutex // guards those below
	inbound  []sms.Inbound
	receipts []provider.Receipt
	fails    error
	log      bytes.Buffer
}

// Receive implements sms.Receiver.
func (e *Everybody) Receive(_ context.Context, in sms.Inbound) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fails != nil {
		return e.fails
	}
	e.inbound = append(e.inbound, in)
	return nil
}

// Receipt implements provider.Receipts.
func (e *Everybody) Receipt(_ context.Context, r provider.Receipt) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.receipts = append(e.receipts, r)
}

// Write takes the log.
func (e *Everybody) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.log.Write(p)
}

// Fail has Receive return the error from now on.
func (e *Everybody) Fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fails = err
}

// Take returns what has come since the last time.
func (e *Everybody) Take() (in []sms.Inbound, receipts []provider.Receipt) {
	e.mu.Lock()
	defer e.mu.Unlock()
	in, receipts = e.inbound, e.receipts
	e.inbound, e.receipts = nil, nil
	return in, receipts
}

// Log returns what has been logged.
func (e *Everybody) Log() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.log.String()
}

// Deps are those of a provider named "route" that asks with the client, at Now.
func Deps(client *http.Client) (provider.Deps, *Everybody) {
	e := &Everybody{}
	return provider.Deps{
		Name: "route", Receiver: e, Receipts: e, Clock: func() time.Time { return Now },
		Log: slog.New(slog.NewTextHandler(e, nil)), HTTP: client,
	}, e
}

// Secret writes a file with a secret.
func Secret(t testing.TB, secret string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Private fails the test if a text holds something of the message or of a secret, "hunter2".
func Private(t testing.TB, texts ...string) {
	t.Helper()
	for _, text := range texts {
		for _, part := range private {
			if strings.Contains(text, part) {
				t.Errorf("%q was written: %s", part, text)
			}
		}
	}
}

// Outcome names the error of libs/sms that an error is; "taken" for none, and "?" if it is not exactly one.
func Outcome(err error) string {
	if err == nil {
		return "taken"
	}
	var all []string
	for name, outcome := range map[string]error{
		"permanent": sms.ErrPermanent, "blocked": sms.ErrBlocked, "throttled": sms.ErrThrottled,
		"unavailable": sms.ErrUnavailable, "unknown": sms.ErrUnknown,
	} {
		if errors.Is(err, outcome) {
			all = append(all, name)
		}
	}
	if len(all) != 1 {
		return "?"
	}
	return all[0]
}

// Failures has a provider, opened with a server's client and URL, ask servers that fail, and holds it to what
// may have gone out.
func Failures(t *testing.T, open func(client *http.Client, url string) provider.Provider) {
	t.Helper()
	for name, one := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"breaks off unanswered":        {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "unknown"},
		"says it failed":               {status(http.StatusInternalServerError, "hunter2 481516 91234567"), "unknown"},
		"is a proxy that lost it":      {status(http.StatusBadGateway, "<html>"), "unknown"},
		"is a proxy that waited":       {status(http.StatusGatewayTimeout, "<html>"), "unknown"},
		"says yes, and nothing more":   {status(http.StatusOK, ""), "unknown"},
		"says yes in a page":           {status(http.StatusOK, "<html>Sign in</html>"), "unknown"},
		"says yes and breaks off":      {brokenOff, "unknown"},
		"says yes without end":         {status(http.StatusOK, strings.Repeat("x", 1<<20)), "unknown"},
		"sends it elsewhere":           {elsewhere, "unknown"},
		"takes longer than is waited":  {slow, "unknown"},
		"does not know us":             {status(http.StatusUnauthorized, "hunter2 481516 91234567"), "unavailable"},
		"forbids it":                   {status(http.StatusForbidden, ""), "unavailable"},
		"has too many":                 {status(http.StatusTooManyRequests, ""), "throttled"},
		"does not understand, in HTML": {status(http.StatusBadRequest, "<html>"), "unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewTLSServer(one.handler)
			defer server.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			ref, err := open(server.Client(), server.URL).Send(ctx, Message)
			if got := Outcome(err); got != one.want || ref != "" {
				t.Errorf("got %s (%v), %q; want %s", got, err, ref, one.want)
			}
			if err != nil {
				Private(t, err.Error())
			}
		})
	}
	t.Run("is not there", func(t *testing.T) {
		server := httptest.NewTLSServer(nil)
		client, url := server.Client(), server.URL
		server.Close()
		if _, err := open(client, url).Send(t.Context(), Message); Outcome(err) != "unavailable" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("is somebody else", func(t *testing.T) {
		server := httptest.NewUnstartedServer(status(http.StatusOK, ""))
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		server.StartTLS()
		defer server.Close()
		if _, err := open(&http.Client{}, server.URL).Send(t.Context(), Message); Outcome(err) != "unavailable" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("is asked too late", func(t *testing.T) {
		server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }))
		defer server.Close()
		late := Message
		late.Deadline = Now
		if _, err := open(server.Client(), server.URL).Send(t.Context(), late); Outcome(err) != "unavailable" {
			t.Errorf("got %v", err)
		}
	})
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

func brokenOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "100")
	_, _ = w.Write([]byte(`{"sid":`))
	panic(http.ErrAbortHandler)
}

func elsewhere(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/elsewhere" {
		w.WriteHeader(http.StatusTeapot) // whoever follows gets another outcome
		return
	}
	http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
}

func slow(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // or it is not seen that the client has gone
	select {
	case <-r.Context().Done():
	case <-time.After(10 * time.Second):
	}
}

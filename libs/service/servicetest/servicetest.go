// Package servicetest runs a program's main function in a test, and asks it things.
package servicetest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Output is written to by a program and read by a test. Safe for concurrent use.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Listening returns where the program's log (JSON) says that it listens, host:port by the listener's name.
func (o *Output) Listening() map[string]string {
	at := map[string]string{}
	for line := range strings.Lines(o.String()) {
		var event struct{ Msg, Name, Address string }
		if json.Unmarshal([]byte(line), &event) == nil && event.Msg == "listening" {
			at[event.Name] = event.Address
		}
	}
	return at
}

// Run is a program, given its arguments.
type Run func(ctx context.Context, args []string, out, errs io.Writer) error

// Start runs a program until it has so many listeners, and returns where, and how to stop it, which gives
// the program's error. The test's end stops it, too.
func Start(t testing.TB, run Run, listeners int, out, errs *Output, args ...string) (at map[string]string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, args, out, errs) }()
	for len(errs.Listening()) < listeners {
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v\n%s", err, errs)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return errs.Listening(), func() error {
		cancel()
		return <-ended
	}
}

// Get returns the status and the body at a URL.
func Get(t testing.TB, url string) (status int, body string) {
	t.Helper()
	r, err := http.Get(url) //nolint:gosec // the test's own server
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	content, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(content)
}

// Eventually asks until the answer holds what is wanted, for ten seconds.
func Eventually(t testing.TB, url, want string) {
	t.Helper()
	var body string
	for range 200 {
		if _, body = Get(t, url); strings.Contains(body, want) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("%s does not come to say %q: %s", url, want, body)
}

package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/service"
)

// output is written to by the program and read by the test.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func TestKeepsADataDirectory(t *testing.T) {
	dir := t.TempDir()
	if _, err := keyring.OpenFile(filepath.Join(dir, "keys.json"), time.Now); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var errs output
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"-data", dir, "-admin", "127.0.0.1:0"}, &errs, &errs) }()
	address := regexp.MustCompile(`"address":"([^"]+)"`)
	for !address.MatchString(errs.String()) {
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v\n%s", err, errs.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
	for path, want := range map[string]string{"/livez": "ok", "/readyz": `"ready"`, "/metrics": "popvote_queue_ballots 0", "/version": "go1."} {
		r, err := http.Get("http://" + address.FindStringSubmatch(errs.String())[1] + path)
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		_, err = body.ReadFrom(r.Body)
		_ = r.Body.Close()
		if err != nil || r.StatusCode != http.StatusOK || !strings.Contains(body.String(), want) {
			t.Errorf("%s: %d %v %s", path, r.StatusCode, err, body.String())
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestRefusesWhatIsNoDataDirectory(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{{}, {"-data", dir}, {"-data", filepath.Join(dir, "none")}, {"-date", dir}} {
		var errs output
		if err := run(t.Context(), args, &errs, &errs); !errors.Is(err, service.ErrConfig) {
			t.Errorf("%v: %v", args, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it left %v %v", left, err)
	}
}

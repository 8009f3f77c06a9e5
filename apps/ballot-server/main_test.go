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
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/ballotapi/overhttp"
	"github.com/popvote/popvote/libs/discovery"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/mtls/devca"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/service"
	"github.com/popvote/popvote/libs/service/servicetest"
	"github.com/popvote/popvote/libs/trustee"
)

func TestKeepsADataDirectory(t *testing.T) {
	dir := t.TempDir()
	if _, err := keyring.OpenFile(filepath.Join(dir, "keys.json"), time.Now); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var errs servicetest.Output
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

// TestServesItsServices: the control panel makes a poll, the API server reads it and may do no more, and
// the gateway may do nothing.
func TestServesItsServices(t *testing.T) {
	dir, certs := t.TempDir(), t.TempDir()
	if _, err := keyring.OpenFile(filepath.Join(dir, "keys.json"), time.Now); err != nil {
		t.Fatal(err)
	}
	if _, err := devca.Make(devca.Config{Dir: certs, Services: []string{name, "api-server", "control-panel", "sms-gateway"}, Clock: time.Now}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var errs servicetest.Output
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-data", dir, "-admin", "127.0.0.1:0", "-listen", "127.0.0.1:0", "-tls", filepath.Join(certs, name)}, &errs, &errs)
	}()
	address := regexp.MustCompile(`"name":"services","address":"([^"]+)"`)
	for !address.MatchString(errs.String()) {
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v\n%s", err, errs.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
	finder, err := discovery.NewStatic(map[string][]discovery.Instance{name: {{Address: address.FindStringSubmatch(errs.String())[1]}}})
	if err != nil {
		t.Fatal(err)
	}
	client := func(as string) *overhttp.Client {
		files, err := mtls.Load(filepath.Join(certs, as), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		c, err := overhttp.NewClient(overhttp.ClientConfig{Finder: finder, TLS: files.Client(name)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	lunch, err := poll.Sample("lunch")
	if err != nil {
		t.Fatal(err)
	}
	if _, lunch.TallyKey, err = trustee.NewKey(); err != nil {
		t.Fatal(err)
	}
	api, panel, gateway := client("api-server"), client("control-panel"), client("sms-gateway")
	if err := api.Apply(t.Context(), *lunch, ballotapi.Change{}); !errors.Is(err, overhttp.ErrForbidden) {
		t.Errorf("the API server made a poll: %v", err)
	}
	if err := panel.Apply(t.Context(), *lunch, ballotapi.Change{Actor: "tester", Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Manifest(t.Context(), lunch.ID); err != nil {
		t.Error(err)
	}
	if _, err := gateway.Polls(t.Context()); !errors.Is(err, overhttp.ErrForbidden) {
		t.Errorf("the gateway reads: %v", err)
	}
	// Connections that are open do not hold up the stop.
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if strings.Contains(errs.String(), "cut off") {
		t.Error(errs.String())
	}
}

func TestRefusesWhatIsNoDataDirectory(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{{}, {"-data", dir}, {"-data", filepath.Join(dir, "none")}, {"-date", dir}, {"-data", dir, "-listen", "127.0.0.1:0"}} {
		var errs servicetest.Output
		if err := run(t.Context(), args, &errs, &errs); !errors.Is(err, service.ErrConfig) {
			t.Errorf("%v: %v", args, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it left %v %v", left, err)
	}
}

package main

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
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
	var errs servicetest.Output
	at, stop := servicetest.Start(t, run, 1, &errs, &errs, "-data", dir, "-admin", "127.0.0.1:0")
	for path, want := range map[string]string{"/livez": "ok", "/readyz": `"ready"`, "/metrics": "popvote_queue_ballots 0", "/version": "go1."} {
		if status, body := servicetest.Get(t, "http://"+at["admin"]+path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if err := stop(); err != nil {
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
	var errs servicetest.Output
	at, stop := servicetest.Start(t, run, 2, &errs, &errs,
		"-data", dir, "-admin", "127.0.0.1:0", "-listen", "127.0.0.1:0", "-tls", filepath.Join(certs, name))
	finder, err := discovery.At(map[string][]string{name: {at["services"]}})
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
	if _, body := servicetest.Get(t, "http://"+at["admin"]+"/metrics"); !strings.Contains(body, "popvote_hop_served_in_flight 0") {
		t.Error("the batches taken are not counted")
	}
	// Connections that are open do not hold up the stop.
	if err := stop(); err != nil {
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

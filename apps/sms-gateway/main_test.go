package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/cloudredis"
	"github.com/popvote/popvote/libs/consultest"
	"github.com/popvote/popvote/libs/discovery"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/mtls/devca"
	"github.com/popvote/popvote/libs/redistest"
	"github.com/popvote/popvote/libs/service"
	"github.com/popvote/popvote/libs/service/servicetest"
	"github.com/popvote/popvote/libs/sms"
	smsoverhttp "github.com/popvote/popvote/libs/sms/overhttp"
	"github.com/popvote/popvote/libs/verification"
)

// site is a directory with keys and certificates.
func site(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := keyring.OpenFile(filepath.Join(dir, "keys.json"), time.Now); err != nil {
		t.Fatal(err)
	}
	if _, err := devca.Make(devca.Config{Dir: filepath.Join(dir, "tls"), Services: []string{name, "api-server", "control-panel", "ballot-server"}, Clock: time.Now}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func arguments(dir, redis string, more ...string) []string {
	return append([]string{
		"-simulate", "-listen", "127.0.0.1:0", "-phone-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0",
		"-keys", filepath.Join(dir, "keys.json"), "-tls", filepath.Join(dir, "tls", name), "-redis-addresses", redis,
	}, more...)
}

// listening is an API server's board on a Redis.
func listening(t *testing.T, s *redistest.Server) *verification.Redis {
	t.Helper()
	finder, err := discovery.At(map[string][]string{cloudredis.Service: {s.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	link := cloudredis.NewLink(cloudredis.Config{Finder: finder})
	t.Cleanup(func() { link.Close() })
	board := verification.NewRedis(verification.RedisConfig{Link: link}, verification.RedisDeps{Clock: time.Now, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(board.Close)
	return board
}

// sending is an API server's way to the gateway.
func sending(t *testing.T, dir, at string) *smsoverhttp.Client {
	t.Helper()
	certificates, err := mtls.Load(filepath.Join(dir, "tls", "api-server"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	finder, err := discovery.NewStatic(map[string][]discovery.Instance{smsoverhttp.Service: {{Address: at}}})
	if err != nil {
		t.Fatal(err)
	}
	sender := smsoverhttp.NewClient(smsoverhttp.ClientConfig{Finder: finder, TLS: certificates.Client(smsoverhttp.Service), Clock: time.Now})
	t.Cleanup(sender.Close)
	return sender
}

// secretOf is what names who waits; made by the one program or the other, it is the same in both.
func secretOf(t *testing.T, dir string) [32]byte {
	t.Helper()
	keys, err := keyring.OpenFile(filepath.Join(dir, "keys.json"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := keys.Secret(t.Context(), keyring.Verification, "")
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// TestItCarriesMessagesBothWays texts from the simulated phone, which an API server hears of through
// Redis, and sends a code as an API server does, which arrives on the phone.
func TestItCarriesMessagesBothWays(t *testing.T) {
	dir, redis := site(t), redistest.Start(t)
	var errs servicetest.Output
	at, stop := servicetest.Start(t, run, 3, &errs, &errs, arguments(dir, redis.Addr())...)

	board := listening(t, redis)
	secret := secretOf(t, dir)
	if got := post(t, "http://"+at["phone"]+"/sms", `{"from":"+85291234567","to":"+85264500000","text":"VOTE AB0D1234"}`); got/100 != 2 {
		t.Fatalf("texting: %d", got)
	}
	waiting, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := hears(waiting, board, verification.KeyOf(secret, "+85291234567", "VOTE AB0D1234")); err != nil {
		t.Error(err)
	}

	sender := sending(t, dir, at["sending"])
	if err := sender.Send(t.Context(), sms.Message{ID: "m1", To: "+85291234567", Text: "123456"}); err != nil {
		t.Error(err)
	}
	if _, body := servicetest.Get(t, "http://"+at["phone"]+"/sms?to=%2B85291234567"); !strings.Contains(body, "123456") {
		t.Errorf("on the phone: %s", body)
	}

	for path, want := range map[string]string{"/livez": "ok", "/readyz": `"ready"`, "/metrics": "popvote_sms_inbound_total", "/version": "go1."} {
		if _, body := servicetest.Get(t, "http://"+at["admin"]+path); !strings.Contains(body, want) {
			t.Errorf("%s: %s", path, body)
		}
	}
	redis.Kill()
	servicetest.Eventually(t, "http://"+at["admin"]+"/readyz", `"state":"degraded"`)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if said := errs.String(); strings.Contains(said, "9123") || strings.Contains(said, "123456") {
		t.Error("its log holds a number or a code")
	}
}

// TestWhoMayDoWhat: a program that may read the report can have nothing sent by that, and the other way round.
func TestWhoMayDoWhat(t *testing.T) {
	dir, redis := site(t), redistest.Start(t)
	var errs servicetest.Output
	at, stop := servicetest.Start(t, run, 3, &errs, &errs, arguments(dir, redis.Addr())...)
	bodies := map[string]string{
		"POST /send":    `{"id":"m1","to":"+85291234567","text":"123456","lang":"en","deadline":"2100-01-01T00:00:00Z"}`,
		"POST /confirm": `{"conversations":["c"]}`,
		"GET /report":   "",
		"POST /report":  "{}",
	}
	may := map[string]map[string]int{
		"api-server":    {"POST /send": http.StatusNoContent, "POST /confirm": http.StatusNoContent},
		"control-panel": {"GET /report": http.StatusOK},
		"ballot-server": {},
		"sms-gateway":   {},
	}
	for service, allowed := range may {
		certificates, err := mtls.Load(filepath.Join(dir, "tls", service), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		protocols := new(http.Protocols)
		protocols.SetHTTP2(true)
		transport := &http.Transport{TLSClientConfig: certificates.Client(name), Protocols: protocols}
		defer transport.CloseIdleConnections()
		for what, body := range bodies {
			method, path, _ := strings.Cut(what, " ")
			r, err := http.NewRequestWithContext(t.Context(), method, "https://"+at["sending"]+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			answer, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatalf("%s, %s: %v", service, what, err)
			}
			text, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			want := cmp.Or(allowed[what], http.StatusForbidden)
			if what == "POST /report" {
				want = http.StatusMethodNotAllowed // there is nothing to write to
			}
			if err != nil || answer.StatusCode != want {
				t.Errorf("%s, %s: %d, want %d", service, what, answer.StatusCode, want)
			}
			if reported := strings.Contains(string(text), "simulated"); reported != (what == "GET /report" && want == http.StatusOK) {
				t.Errorf("%s, %s: it says %q", service, what, text)
			}
		}
	}
	// Nobody without a certificate gets as far as a path.
	if _, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}).Get("https://" + at["sending"] + "/report"); err == nil { //nolint:gosec // that is the point
		t.Error("somebody without a certificate was answered")
	}
	if _, body := servicetest.Get(t, "http://"+at["phone"]+"/sms?to=%2B85291234567"); strings.Count(body, `"text":"123456"`) != 1 {
		t.Errorf("on the phone: %s", body)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestItWritesToEveryRedisThatConsulKnows, also to one that is new, and to none on another machine.
func TestItWritesToEveryRedisThatConsulKnows(t *testing.T) {
	agent := consultest.Start(t)
	dir := site(t)
	secret := secretOf(t, dir)
	var errs servicetest.Output
	at, stop := servicetest.Start(t, run, 3, &errs, &errs, arguments(dir, "", "-consul-address", agent.Addr())...)
	servicetest.Eventually(t, "http://"+at["admin"]+"/readyz", cloudredis.ErrNone.Error())

	var clouds []*redistest.Server
	var boards []*verification.Redis
	for i, cloud := range []string{"aws", "gcp", "hetzner"} {
		clouds = append(clouds, redistest.Start(t))
		boards = append(boards, listening(t, clouds[i]))
		agent.RegisterAt(cloudredis.Service, clouds[i].Addr(), cloud)
		if i == 0 {
			agent.RegisterAt(cloudredis.Service, "192.0.2.1:6379", "elsewhere")
			servicetest.Eventually(t, "http://"+at["admin"]+"/readyz", `{"state":"ready"`)
		}
		text := fmt.Sprintf("VOTE AB0D123%d", i)
		if got := post(t, "http://"+at["phone"]+"/sms", fmt.Sprintf(`{"from":"+85291234567","to":"+85264500000","text":%q}`, text)); got/100 != 2 {
			t.Fatalf("texting: %d", got)
		}
	}
	waiting, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for i, board := range boards {
		for j := range boards { // of those before it was there, too
			if err := hears(waiting, board, verification.KeyOf(secret, "+85291234567", fmt.Sprintf("VOTE AB0D123%d", j))); err != nil {
				t.Errorf("cloud %d does not hear of SMS %d: %v", i, j, err)
			}
		}
	}
	clouds[1].Kill()
	servicetest.Eventually(t, "http://"+at["admin"]+"/readyz", "couldn't write to "+clouds[1].Addr())
	agent.Deregister(clouds[1].Addr())
	servicetest.Eventually(t, "http://"+at["admin"]+"/readyz", `{"state":"ready"`)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestItRefusesToStartWrongly(t *testing.T) {
	dir := site(t)
	if err := os.WriteFile(filepath.Join(dir, "bad.yaml"), []byte("redis: {host: x}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		args []string
		says string
	}{
		"no provider":             {arguments(dir, "127.0.0.1:6379")[1:], "-simulate"},
		"an unknown flag":         {[]string{"-no-such-flag"}, "no-such-flag"},
		"an unknown key":          {arguments(dir, "127.0.0.1:6379", "-config", filepath.Join(dir, "bad.yaml")), "host"},
		"no certificates named":   {arguments(dir, "127.0.0.1:6379", "-tls", ""), "-tls"},
		"no keys named":           {arguments(dir, "127.0.0.1:6379", "-keys", ""), "-keys"},
		"no key file":             {arguments(dir, "127.0.0.1:6379", "-keys", filepath.Join(dir, "none.json")), "-keys"},
		"no Redis named":          {arguments(dir, ""), "-redis-addresses"},
		"Redis named and sought":  {arguments(dir, "127.0.0.1:6379", "-consul-address", "127.0.0.1:1"), "one or the other"},
		"Redis elsewhere":         {arguments(dir, "192.0.2.1:6379"), "loopback"},
		"the phone for everybody": {arguments(dir, "127.0.0.1:6379", "-phone-listen", "0.0.0.0:0"), "loopback"},
		"no network":              {arguments(dir, "127.0.0.1:6379", "-simulate-networks", "10.1.2.3"), "-simulate-networks"},
		"sending for everybody":   {arguments(dir, "127.0.0.1:6379", "-listen", ":0"), "loopback"},
	} {
		var errs servicetest.Output
		err := run(t.Context(), c.args, &errs, &errs)
		if service.ExitCode(err) != service.ExitConfig || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "none.json")); err == nil {
		t.Error("it made keys of its own")
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var errs servicetest.Output
	if err := run(t.Context(), arguments(dir, "127.0.0.1:6379", "-admin", taken.Addr().String()), &errs, &errs); service.ExitCode(err) != service.ExitPortTaken {
		t.Errorf("a port that is taken: %v", err)
	}
}

func TestItSaysWhatItIs(t *testing.T) {
	var out, errs servicetest.Output
	if err := run(t.Context(), []string{"-version"}, &out, &errs); err != nil || !strings.HasPrefix(out.String(), "sms-gateway dev (") {
		t.Errorf("-version: %v, %q", err, out.String())
	}
	if err := run(t.Context(), []string{"-help"}, &out, &errs); !errors.Is(err, flag.ErrHelp) || !strings.Contains(errs.String(), "-redis-password-file") {
		t.Errorf("-help: %v\n%s", err, errs.String())
	}
}

func post(t *testing.T, url, body string) int {
	t.Helper()
	r, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	return r.StatusCode
}

// hears waits until a board has news of an SMS.
func hears(ctx context.Context, board verification.Board, key verification.Key) error {
	news, stop, err := board.Watch(ctx, key)
	if err != nil {
		return err
	}
	defer stop()
	select {
	case got := <-news:
		return got.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

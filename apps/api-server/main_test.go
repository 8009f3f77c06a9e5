package main

import (
	"context"
	"errors"
	"flag"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/ballotapi/overhttp/overhttptest"
	"github.com/popvote/popvote/libs/cloudredis"
	"github.com/popvote/popvote/libs/consultest"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/mtls/devca"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/redistest"
	"github.com/popvote/popvote/libs/service"
	"github.com/popvote/popvote/libs/service/servicetest"
)

// emptyBox is a ballot server without polls.
type emptyBox struct {
	ballotapi.Caster
	ballotapi.Admin
}

// countedBox is one that counts how often it was asked.
type countedBox struct {
	emptyBox
	asked *atomic.Int64
}

func (b countedBox) Polls(ctx context.Context) ([]poll.Summary, error) {
	b.asked.Add(1)
	return b.emptyBox.Polls(ctx)
}

func (emptyBox) Polls(context.Context) ([]poll.Summary, error) { return nil, nil }

// site is a directory with keys and certificates.
func site(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := keyring.OpenFile(filepath.Join(dir, "keys.json"), time.Now); err != nil {
		t.Fatal(err)
	}
	if _, err := devca.Make(devca.Config{Dir: filepath.Join(dir, "tls"), Services: []string{name, ballotServer}, Clock: time.Now}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func arguments(dir, ballots, redis string, more ...string) []string {
	return append([]string{
		"-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-ballot-servers", ballots, "-redis-address", redis,
		"-keys", filepath.Join(dir, "keys.json"), "-tls", filepath.Join(dir, "tls", name), "-trusted-proxies", "none", "-drain", "0s",
	}, more...)
}

func TestItServesWhatABallotServerHas(t *testing.T) {
	dir, redis := site(t), redistest.Start(t)
	var errs servicetest.Output
	at, stop := servicetest.Start(t, run, 2, &errs, &errs, arguments(dir, overhttptest.Serve(t, filepath.Join(dir, "tls", ballotServer), emptyBox{}), redis.Addr(),
		"-security-contact", "mailto:security@vote.example", "-public-origin", "https://vote.example")...)
	servicetest.Eventually(t, "http://"+at["admin"]+"/readyz", `{"state":"ready"`)
	if status, body := servicetest.Get(t, "http://"+at["voters"]+"/v1/polls"); status != http.StatusOK || !strings.Contains(body, "[]") {
		t.Errorf("the polls: %d %s", status, body)
	}
	if status, body := servicetest.Get(t, "http://"+at["voters"]+"/"); status != http.StatusOK || !strings.Contains(body, "<html") {
		t.Errorf("the voter's page: %d %.200s", status, body)
	}
	// TLS ends before this program, so only its origin says that browsers come over it.
	for _, path := range []string{"/en/", "/v1/polls", "/.well-known/security.txt", "/nothing"} {
		answer, err := http.Get("http://" + at["voters"] + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if hsts := answer.Header.Get("Strict-Transport-Security"); !strings.HasPrefix(hsts, "max-age=31536000") {
			t.Errorf("%s: Strict-Transport-Security is %q", path, hsts)
		}
	}
	if status, body := servicetest.Get(t, "http://"+at["voters"]+"/.well-known/security.txt"); status != http.StatusOK || !strings.HasPrefix(body, "Contact: mailto:security@vote.example\n") {
		t.Errorf("security.txt: %d %s", status, body)
	}
	if _, body := servicetest.Get(t, "http://"+at["admin"]+"/metrics"); !strings.Contains(body, "popvote_hop_queue_ballots 0") {
		t.Error("the hop to the ballot servers is not counted")
	}
	for path, want := range map[string]string{"/livez": "ok", "/metrics": "popvote_build_info", "/version": "go1."} {
		if _, body := servicetest.Get(t, "http://"+at["admin"]+path); !strings.Contains(body, want) {
			t.Errorf("%s: %.200s", path, body)
		}
		if _, body := servicetest.Get(t, "http://"+at["voters"]+path); strings.HasPrefix(body, want) || strings.Contains(body, "popvote_build_info") {
			t.Errorf("%s is public", path)
		}
	}
	redis.Kill()
	if status, body := servicetest.Get(t, "http://"+at["admin"]+"/readyz"); status != http.StatusOK || !strings.Contains(body, `{"state":"degraded"`) {
		t.Errorf("without Redis: %d %s", status, body)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestItFollowsTheBallotServersInConsul, its own cloud's first, and goes on without Consul.
func TestItFollowsTheBallotServersInConsul(t *testing.T) {
	dir, redis, agent := site(t), redistest.Start(t), consultest.Start(t)
	var errs servicetest.Output
	at, stop := servicetest.Start(t, run, 2, &errs, &errs, arguments(dir, "", "", "-consul-address", agent.Addr(), "-cloud", "here")...)
	ready := "http://" + at["admin"] + "/readyz"
	if status, body := servicetest.Get(t, ready); status != http.StatusServiceUnavailable {
		t.Errorf("without a ballot server: %d %s", status, body)
	}
	asked := map[string]*atomic.Int64{}
	start := func(cloud string) {
		asked[cloud] = new(atomic.Int64)
		agent.RegisterAt(ballotServer, overhttptest.Serve(t, filepath.Join(dir, "tls", ballotServer), countedBox{asked: asked[cloud]}), cloud)
	}
	agent.RegisterAt(cloudredis.Service, redis.Addr(), "here")
	start("there")
	servicetest.Eventually(t, ready, `{"state":"ready","checks"`)
	if asked["there"].Load() == 0 {
		t.Error("it is ready, and nobody was asked")
	}
	start("here")
	servicetest.Eventually(t, "http://"+at["admin"]+"/metrics", `popvote_discovery_instances{datacenter="",service="ballot-server"} 2`)
	before, others := asked["here"].Load(), asked["there"].Load()
	for range 20 {
		servicetest.Get(t, ready)
	}
	if asked["here"].Load() < before+20 || asked["there"].Load() > others+1 { // one may have been on its way
		t.Errorf("its own cloud's was asked %d times, and the other one %d", asked["here"].Load()-before, asked["there"].Load()-others)
	}
	agent.Kill()
	servicetest.Eventually(t, ready, `{"state":"degraded","checks"`)
	if status, body := servicetest.Get(t, ready); status != http.StatusOK || !strings.Contains(body, `"ballot-server":{"state":"ready"}`) {
		t.Errorf("without Consul: %d %s", status, body)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestItUsesItsOwnCloudsRedis as Consul knows it, wherever that goes; another cloud's is not enough.
func TestItUsesItsOwnCloudsRedis(t *testing.T) {
	agent, dir := consultest.Start(t), site(t)
	agent.RegisterAt(ballotServer, overhttptest.Serve(t, filepath.Join(dir, "tls", ballotServer), emptyBox{}), "gcp")
	agent.RegisterAt(cloudredis.Service, redistest.Start(t).Addr(), "gcp")
	var errs servicetest.Output
	at, stop := servicetest.Start(t, run, 2, &errs, &errs, arguments(dir, "", "", "-consul-address", agent.Addr(), "-cloud", "aws")...)
	ready, metrics := "http://"+at["admin"]+"/readyz", "http://"+at["admin"]+"/metrics"
	servicetest.Eventually(t, ready, `{"state":"degraded"`)
	servicetest.Eventually(t, ready, cloudredis.ErrNone.Error())
	servicetest.Eventually(t, metrics, "popvote_limits_alone 1")

	near := redistest.Start(t)
	agent.RegisterAt(cloudredis.Service, near.Addr(), "aws")
	servicetest.Eventually(t, ready, `{"state":"ready"`)
	servicetest.Eventually(t, metrics, "popvote_limits_alone 0")
	near.Kill()
	agent.Deregister(near.Addr())
	servicetest.Eventually(t, ready, `{"state":"degraded"`)
	agent.RegisterAt(cloudredis.Service, redistest.Start(t).Addr(), "aws")
	servicetest.Eventually(t, ready, `{"state":"ready"`)
	servicetest.Eventually(t, metrics, "popvote_limits_alone 0")
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestItStartsBeforeAnybodyElseAndSaysThatItIsNotReady(t *testing.T) {
	dir := site(t)
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	var errs servicetest.Output
	at, stop := servicetest.Start(t, run, 2, &errs, &errs, arguments(dir, nobody.Addr().String(), nobody.Addr().String())...)
	if status, body := servicetest.Get(t, "http://"+at["admin"]+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, `{"state":"unready"`) {
		t.Errorf("%d %s", status, body)
	}
	if status, _ := servicetest.Get(t, "http://"+at["voters"]+"/v1/polls"); status != http.StatusServiceUnavailable {
		t.Errorf("the polls, which it does not know: %d", status)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestItRefusesToStartWrongly(t *testing.T) {
	dir := site(t)
	if err := os.WriteFile(filepath.Join(dir, "bad.yaml"), []byte("limits: {scales: 2}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	off := "limits: {polls: {staff-2026: {send-phone: {count: 0, window: 1h}}}}\n"
	if err := os.WriteFile(filepath.Join(dir, "poll.yaml"), []byte(off), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := func(more ...string) []string { return arguments(dir, "127.0.0.1:1", "127.0.0.1:1", more...) }
	for what, c := range map[string]struct {
		args []string
		says string
	}{
		"nothing":                {nil, "-ballot-servers"},
		"Consul, and a server":   {good("-consul-address", "127.0.0.1:1"), "both"},
		"Consul, and a gateway":  {good("-ballot-servers", "", "-redis-address", "", "-sms-gateways", "127.0.0.1:1", "-consul-address", "127.0.0.1:1"), "both"},
		"Consul, and Redis":      {good("-ballot-servers", "", "-consul-address", "127.0.0.1:1"), "both"},
		"a cloud without Consul": {good("-cloud", "here"), "-cloud"},
		"no token for Consul":    {good("-ballot-servers", "", "-redis-address", "", "-consul-address", "127.0.0.1:1", "-consul-token-file", filepath.Join(dir, "none")), "token"},
		"an unknown flag":        {good("-no-such-flag"), "no-such-flag"},
		"an unknown key":         {good("-config", filepath.Join(dir, "bad.yaml")), "scales"},
		"no certificates named":  {good("-tls", ""), "-tls"},
		"no certificates":        {good("-tls", dir), "certificates"},
		"no keys named":          {good("-keys", ""), "-keys"},
		"no key file":            {good("-keys", filepath.Join(dir, "none.json")), "-keys"},
		"no Redis":               {good("-redis-address", ""), "-redis-address"},
		"an address of Redis":    {good("-redis-address", "redis"), "host:port"},
		"a ballot server twice":  {good("-ballot-servers", "127.0.0.1:1,127.0.0.1:1"), "twice"},
		"proxies not named":      {good("-trusted-proxies", ""), "-trusted-proxies"},
		"a proxy that is none":   {good("-trusted-proxies", "nowhere"), "trusted_proxies"},
		"no work":                {good("-challenge-cost", "0"), "-challenge-cost"},
		"work by three":          {good("-challenge-most", "3"), "-challenge-most"},
		"no connections":         {good("-max-connections", "0"), "-max-connections"},
		"no waiters":             {good("-max-waiters", "0"), "-max-waiters"},
		"a country that is none": {good("-phone-countries", "HK"), "phone_countries"},
		"a poll without a limit": {good("-config", filepath.Join(dir, "poll.yaml")), "no single poll goes without a limit"},
		"draining into the past": {good("-drain", "-1s"), "-drain"},
		"an origin that is none": {good("-public-origin", "vote"), "origin"},
		"half a human check":     {good("-human-check-provider", "turnstile"), "site-key"},
		"another human check":    {good("-human-check-provider", "recaptcha"), "neither turnstile nor hcaptcha"},
		"a human check's secret": {
			good("-human-check-provider", "turnstile", "-human-check-site-key", "key", "-human-check-origin", "https://check.example", "-human-check-secret-file", filepath.Join(dir, "none")), "couldn't find a secret",
		},
		"a human check that no page frames": {
			good("-human-check-provider", "turnstile", "-human-check-site-key", "key", "-human-check-origin", "https://check.example", "-human-check-secret-file", filepath.Join(dir, "secret")), "public_origin",
		},
		"a contact that is none":  {good("-security-contact", "security@vote.example"), "security.txt"},
		"a log level":             {good("-log-level", "loud"), "loud"},
		"a limit that is no such": {good("-limits-scale", "-1"), "scale"},
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
	if err := run(t.Context(), good("-admin", taken.Addr().String()), &errs, &errs); service.ExitCode(err) != service.ExitPortTaken {
		t.Errorf("a port that is taken: %v", err)
	}
}

// TestLimitsThatAreNotTheTables are told at the start, and a poll's own are those that count.
func TestLimitsThatAreNotTheTables(t *testing.T) {
	dir, redis := site(t), redistest.Start(t)
	file := filepath.Join(dir, "limits.yaml")
	if err := os.WriteFile(file, []byte("limits:\n  override:\n    cast-global: {count: 0, window: 1s}\n    challenge-network: {count: 7, window: 1m}\n"+
		"  polls:\n    staff-2026:\n      verify-phone: {count: 1, window: 168h}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var errs servicetest.Output
	at, stop := servicetest.Start(t, run, 2, &errs, &errs, arguments(dir, overhttptest.Serve(t, filepath.Join(dir, "tls", ballotServer), emptyBox{}), redis.Addr(), "-config", file)...)
	answer, err := http.Get("http://" + at["voters"] + "/v1/challenge")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if policy := answer.Header.Get("RateLimit-Policy"); policy != `"challenge-network";q=7;w=60` {
		t.Errorf("the policy: %s", policy)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for _, said := range []string{"the limits are not those of the table", `"taken_away":["cast-global"]`, `"changed":["challenge-network"]`, `"polls":["staff-2026"]`} {
		if !strings.Contains(errs.String(), said) {
			t.Errorf("the log doesn't say %s", said)
		}
	}
}

func TestItSaysWhatItIs(t *testing.T) {
	var out, errs servicetest.Output
	if err := run(t.Context(), []string{"-version"}, &out, &errs); err != nil || !strings.HasPrefix(out.String(), "api-server dev (") {
		t.Errorf("-version: %v, %q", err, out.String())
	}
	if err := run(t.Context(), []string{"-help"}, &out, &errs); !errors.Is(err, flag.ErrHelp) || !strings.Contains(errs.String(), "-redis-password-file") {
		t.Errorf("-help: %v\n%s", err, errs.String())
	}
}

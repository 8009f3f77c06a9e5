package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/control-panel/operators"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/ballotapi/overhttp/overhttptest"
	"github.com/popvote/popvote/libs/consultest"
	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/mtls/devca"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/service"
	"github.com/popvote/popvote/libs/service/servicetest"
	"github.com/popvote/popvote/libs/sms"
	smsoverhttp "github.com/popvote/popvote/libs/sms/overhttp"
)

// wellBox is a ballot server that is well.
type wellBox struct {
	ballotapi.Caster
	ballotapi.Admin
}

func (wellBox) Health(context.Context) (ballotapi.Health, error) { return ballotapi.Health{}, nil }

func (wellBox) Operators(context.Context, int64) ([]ballotapi.AuditEntry, error) { return nil, nil }

func (wellBox) AllPolls(context.Context) ([]poll.Summary, error) { return nil, nil }

// chainBox keeps the operators' chain as well.
type chainBox struct {
	wellBox

	noted chan ballotapi.Note
}

func (b chainBox) NoteOperators(_ context.Context, after int64, n ballotapi.Note) (*ballotapi.AuditEntry, error) {
	b.noted <- n
	e := ballotapi.AuditEntry{Seq: after + 1, Actor: n.Actor, Action: n.Action, Reason: n.Reason, Detail: n.Detail}
	e.Hash = e.Digest()
	return &e, nil
}

// TestARecoveryLinkIsMadeOnTheMachine: it is printed once, and the chain has its hash, whom it is for and who made it.
func TestARecoveryLinkIsMadeOnTheMachine(t *testing.T) {
	dir := site(t)
	box := chainBox{noted: make(chan ballotapi.Note, 1)}
	ballots := overhttptest.Serve(t, filepath.Join(dir, "tls", ballotServer), box)
	var out, errs servicetest.Output
	args := arguments(dir, ballots, "-public-origin", "https://panel.example.hk", "-recover", "Chan Tai Man")
	if err := run(t.Context(), args, &out, &errs); err != nil {
		t.Fatal(err)
	}
	_, secret, ok := strings.Cut(strings.TrimSpace(out.String()), "https://panel.example.hk/#login=")
	if !ok || len(secret) != 43 {
		t.Fatalf("it says %q", out.String())
	}
	n := <-box.noted
	if n.Action != operators.RecoveryMade || n.Actor != "control-panel -recover" || !strings.Contains(n.Detail, "Chan Tai Man") ||
		!strings.Contains(n.Detail, operators.LinkID(secret)) || strings.Contains(n.Detail, secret) {
		t.Errorf("the chain says %+v", n)
	}
	if strings.Contains(errs.String(), secret) {
		t.Error("the log has it")
	}
	if err := run(t.Context(), arguments(dir, ballots, "-recover", "clock"), &out, &errs); !errors.Is(err, operators.ErrName) {
		t.Errorf("for the clock: %v", err)
	}
}

func site(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := devca.Make(devca.Config{Dir: filepath.Join(dir, "tls"), Services: []string{name, ballotServer, smsGateway}, Clock: time.Now}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func arguments(dir, ballots string, more ...string) []string {
	return append([]string{
		"-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-ballot-servers", ballots, "-tls", filepath.Join(dir, "tls", name),
	}, more...)
}

var link = regexp.MustCompile(`http://\S+/#login=\S+`)

func TestItServesItsPageAndHandsOverALink(t *testing.T) {
	dir := site(t)
	ballots := overhttptest.Serve(t, filepath.Join(dir, "tls", ballotServer), wellBox{})
	file := filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("old"), 0o644); err != nil { //nolint:gosec // everybody can read it: that is the point
		t.Fatal(err)
	}
	for _, into := range []string{"", file} {
		var out, errs servicetest.Output
		at, stop := servicetest.Start(t, run, 2, &out, &errs, arguments(dir, ballots, "-login-link-file", into)...)
		servicetest.Eventually(t, "http://"+at["admin"]+"/readyz", `{"state":"ready"`)
		if status, body := servicetest.Get(t, "http://"+at["operators"]+"/"); status != http.StatusOK || !strings.Contains(body, "<html") {
			t.Errorf("the page: %d %.200s", status, body)
		}
		said := out.String()
		if into != "" {
			if said != "" {
				t.Error("it is printed, too")
			}
			content, err := os.ReadFile(into)
			info, e := os.Stat(into)
			if err != nil || e != nil || info.Mode().Perm() != 0o600 {
				t.Fatalf("%v %v", err, info.Mode())
			}
			said = string(content)
		}
		if got := link.FindString(said); !strings.HasPrefix(got, "http://"+at["operators"]+"/") {
			t.Error("there is no link to it")
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if link.MatchString(errs.String()) {
			t.Error("its log holds the link")
		}
	}
}

func TestAPanelThatNobodyCanEnterEnds(t *testing.T) {
	dir := site(t)
	var out, errs servicetest.Output
	err := run(t.Context(), arguments(dir, "127.0.0.1:1", "-login-link-file", filepath.Join(dir, "none", "link")), &out, &errs)
	if service.ExitCode(err) != service.ExitFailure || !strings.Contains(err.Error(), "link") {
		t.Errorf("%v", err)
	}
}

func TestWithoutABallotServerItIsDegraded(t *testing.T) {
	dir := site(t)
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	var out, errs servicetest.Output
	at, stop := servicetest.Start(t, run, 2, &out, &errs, arguments(dir, nobody.Addr().String())...)
	if status, body := servicetest.Get(t, "http://"+at["admin"]+"/readyz"); status != http.StatusOK || !strings.Contains(body, `{"state":"degraded"`) {
		t.Errorf("%d %s", status, body)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestItFollowsTheBallotServersInConsul, and goes on without Consul.
func TestItFollowsTheBallotServersInConsul(t *testing.T) {
	dir, agent := site(t), consultest.Start(t)
	var out, errs servicetest.Output
	at, stop := servicetest.Start(t, run, 2, &out, &errs, arguments(dir, "", "-consul-address", agent.Addr(), "-cloud", "here")...)
	ready := "http://" + at["admin"] + "/readyz"
	servicetest.Eventually(t, ready, `{"state":"degraded","checks"`)
	agent.RegisterAt(ballotServer, overhttptest.Serve(t, filepath.Join(dir, "tls", ballotServer), wellBox{}), "")
	servicetest.Eventually(t, ready, `{"state":"ready","checks"`)
	if _, body := servicetest.Get(t, "http://"+at["admin"]+"/metrics"); !strings.Contains(body, `popvote_discovery_instances{datacenter="",service="ballot-server"} 1`) {
		t.Error("what it found is not counted")
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

// TestItAsksTheGatewaysInConsul how their routes do, with its own certificate, also one that is new.
func TestItAsksTheGatewaysInConsul(t *testing.T) {
	dir, agent := site(t), consultest.Start(t)
	agent.RegisterAt(ballotServer, overhttptest.Serve(t, filepath.Join(dir, "tls", ballotServer), wellBox{}), "")
	gateway := func(cloud string) {
		certificates, err := mtls.Load(filepath.Join(dir, "tls", smsGateway), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: smsoverhttp.NewReportHandler(func(context.Context) sms.Report {
			return sms.Report{Currency: "of " + cloud}
		}, []string{name})}
		go func() { _ = s.Serve(tls.NewListener(l, certificates.Server())) }()
		t.Cleanup(func() { _ = s.Close() })
		agent.RegisterAt(smsGateway, l.Addr().String(), cloud)
	}
	gateway("aws")
	var out, errs servicetest.Output
	at, stop := servicetest.Start(t, run, 2, &out, &errs, arguments(dir, "", "-consul-address", agent.Addr())...)
	servicetest.Eventually(t, "http://"+at["admin"]+"/readyz", `{"state":"ready"`)
	_, token, _ := strings.Cut(strings.TrimSpace(link.FindString(out.String())), "#login=")
	answer, err := http.Post("http://"+at["operators"]+"/api/login", "application/json", strings.NewReader(`{"token":"`+token+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK || len(answer.Cookies()) != 1 {
		t.Fatalf("logging in: %d", answer.StatusCode)
	}
	looking, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(looking, http.MethodGet, "http://"+at["operators"]+"/api/live", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.AddCookie(answer.Cookies()[0])
	if answer, err = http.DefaultClient.Do(r); err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines, awaited := bufio.NewScanner(answer.Body), []string{"of aws", "of gcp"}
	for len(awaited) > 0 && lines.Scan() {
		if strings.Contains(lines.Text(), `"gateways":`) && strings.Contains(lines.Text(), awaited[0]) {
			if awaited = awaited[1:]; len(awaited) == 1 {
				gateway("gcp")
			}
		}
	}
	if len(awaited) > 0 {
		t.Errorf("%s never came: %v\n%s", awaited[0], lines.Err(), errs.String())
	}
	cancel()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestItRefusesToStartWrongly(t *testing.T) {
	dir := site(t)
	if err := os.WriteFile(filepath.Join(dir, "bad.yaml"), []byte("colour: blue\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		args []string
		says string
	}{
		"nothing":                {nil, "-ballot-servers"},
		"Consul, and a gateway":  {arguments(dir, "", "-sms-gateways", "127.0.0.1:1", "-consul-address", "127.0.0.1:1"), "both"},
		"a gateway's port":       {arguments(dir, "127.0.0.1:1", "-sms-gateways", "127.0.0.1"), "host:port"},
		"Consul, and a server":   {arguments(dir, "127.0.0.1:1", "-consul-address", "127.0.0.1:1"), "both"},
		"a cloud without Consul": {arguments(dir, "127.0.0.1:1", "-cloud", "here"), "-cloud"},
		"an unknown flag":        {[]string{"-no-such-flag"}, "no-such-flag"},
		"an unknown key":         {arguments(dir, "127.0.0.1:1", "-config", filepath.Join(dir, "bad.yaml")), "colour"},
		"no certificates named":  {arguments(dir, "127.0.0.1:1", "-tls", ""), "-tls"},
		"no certificates":        {arguments(dir, "127.0.0.1:1", "-tls", dir), "certificates"},
		"a ballot server's port": {arguments(dir, "127.0.0.1"), "host:port"},
		"an origin that is none": {arguments(dir, "127.0.0.1:1", "-public-origin", "panel"), "origin"},
		"a Nomad that is none":   {arguments(dir, "127.0.0.1:1", "-nomad-address", "127.0.0.1:4646"), "http://"},
		"a token that isn't":     {arguments(dir, "127.0.0.1:1", "-nomad-address", "http://127.0.0.1:1", "-nomad-token-file", filepath.Join(dir, "none")), "token"},
		"a log level":            {arguments(dir, "127.0.0.1:1", "-log-level", "loud"), "loud"},
	} {
		var out, errs servicetest.Output
		err := run(t.Context(), c.args, &out, &errs)
		if service.ExitCode(err) != service.ExitConfig || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestItSaysWhatItIs(t *testing.T) {
	var out, errs servicetest.Output
	if err := run(t.Context(), []string{"-version"}, &out, &errs); err != nil || !strings.HasPrefix(out.String(), "control-panel dev (") {
		t.Errorf("-version: %v, %q", err, out.String())
	}
	if err := run(t.Context(), []string{"-help"}, &out, &errs); !errors.Is(err, flag.ErrHelp) || !strings.Contains(errs.String(), "-login-link-file") {
		t.Errorf("-help: %v\n%s", err, errs.String())
	}
}

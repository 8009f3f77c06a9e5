package server_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/control-panel/server"
	"github.com/popvote/popvote/libs/discovery"
	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/mtls/devca"
	"github.com/popvote/popvote/libs/sms"
	"github.com/popvote/popvote/libs/sms/overhttp"
)

// gateways are SMS gateways behind mutual TLS, in clouds of their own.
type gateways struct {
	t     *testing.T
	dir   string
	found []discovery.Instance
}

func newGateways(t *testing.T) *gateways {
	t.Helper()
	g := &gateways{t: t, dir: t.TempDir()}
	if _, err := devca.Make(devca.Config{Dir: g.dir, Services: []string{"sms-gateway", "control-panel"}, Clock: time.Now}); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *gateways) certificates(service string) *mtls.Files {
	g.t.Helper()
	files, err := mtls.Load(filepath.Join(g.dir, service), time.Now)
	if err != nil {
		g.t.Fatal(err)
	}
	return files
}

// add runs one more, in a cloud.
func (g *gateways) add(cloud string, h http.Handler) {
	g.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	go func() { _ = s.Serve(tls.NewListener(l, g.certificates("sms-gateway").Server())) }()
	g.t.Cleanup(func() { _ = s.Close() })
	g.found = append(g.found, discovery.Instance{Address: l.Addr().String(), Cloud: cloud})
}

func (g *gateways) reporter() *overhttp.Reporter {
	g.t.Helper()
	finder, err := discovery.NewStatic(map[string][]discovery.Instance{overhttp.Service: g.found})
	if err != nil {
		g.t.Fatal(err)
	}
	r := overhttp.NewReporter(finder, g.certificates("control-panel").Client(overhttp.Service))
	g.t.Cleanup(r.Close)
	return r
}

// reports is a gateway that sent so many by its one route.
func reports(n int64) http.Handler {
	return overhttp.NewReportHandler(func(context.Context) sms.Report {
		return sms.Report{Currency: "HKD", Routes: []sms.RouteReport{{Name: "line", Counts: sms.Counts{Sent: n}}}}
	}, []string{"control-panel"})
}

// over is a panel that asks so.
func over(t *testing.T, ask func(context.Context) []server.Gateway) *panel {
	return newPanelWith(t, func(_ *server.Config, d *server.Deps) { d.Gateways = ask })
}

func TestWithoutGatewaysNoRoutesAreShown(t *testing.T) {
	p := newPanel(t).logIn()
	if body := p.want(p.get("/api/session"), http.StatusOK, ""); body["routes"] != false {
		t.Errorf("%v", body)
	}
	if data, ok := p.listen("/api/live").next("overview"); !ok || data["gateways"] != nil {
		t.Errorf("%v", data)
	}
}

// TestAGatewayThatIsSilentIsShownSo, beside the others, and said once in the log.
func TestAGatewayThatIsSilentIsShownSo(t *testing.T) {
	g := newGateways(t)
	g.add("hetzner", reports(3))
	g.add("aws", reports(5))
	g.add("gcp", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	g.add("old", http.NotFoundHandler())
	g.add("shut", overhttp.NewReportHandler(nil, []string{"api-server"}))
	log := &safeBuffer{}
	p := over(t, server.GatewaysBy(g.reporter(), slog.New(slog.NewTextHandler(log, nil)))).logIn()
	if body := p.want(p.get("/api/session"), http.StatusOK, ""); body["routes"] != true {
		t.Errorf("%v", body)
	}
	s := p.listen("/api/live")
	for range 2 {
		view := s.must("routes", func(map[string]any) bool { return true })
		if view["now"] != p.clock.Now().Format(time.RFC3339) {
			t.Errorf("at %v", view["now"])
		}
		want := []struct {
			cloud, silent string
			sent          float64
		}{{"aws", "", 5}, {"gcp", "no_answer", 0}, {"hetzner", "", 3}, {"old", "older", 0}, {"shut", "refused", 0}}
		all := view["gateways"].([]any)
		if len(all) != len(want) {
			t.Fatalf("%v", all)
		}
		for i, is := range want {
			one := all[i].(map[string]any)
			silent, _ := one["silent"].(string)
			if one["cloud"] != is.cloud || silent != is.silent || !strings.HasPrefix(one["address"].(string), "127.0.0.1:") || (one["report"] == nil) != (is.silent != "") {
				t.Errorf("%s: %v", is.cloud, one)
			}
			if is.silent == "" && one["report"].(map[string]any)["routes"].([]any)[0].(map[string]any)["sent"] != is.sent {
				t.Errorf("%s: %v", is.cloud, one)
			}
		}
	}
	if n := strings.Count(log.String(), "an SMS gateway makes no report"); n != 3 {
		t.Errorf("%d lines of three silent gateways:\n%s", n, log.String())
	}
}

// TestNobodyIsAskedForNobody: gateways are asked while somebody looks, once for all who do.
func TestNobodyIsAskedForNobody(t *testing.T) {
	var asked atomic.Int64
	p := newPanelWith(t, func(c *server.Config, d *server.Deps) {
		c.PartsEvery = 50 * time.Millisecond
		d.Gateways = func(context.Context) []server.Gateway { asked.Add(1); return nil }
	}).logIn()
	time.Sleep(200 * time.Millisecond)
	if n := asked.Load(); n != 0 {
		t.Errorf("asked %d times for nobody", n)
	}
	began := time.Now()
	var streams []*stream
	for range 20 {
		streams = append(streams, p.listen("/api/live"))
	}
	for _, s := range streams {
		if view, ok := s.next("routes"); !ok || len(view["gateways"].([]any)) != 0 {
			t.Errorf("no gateway is an empty list: %v", view)
		}
	}
	if n, most := asked.Load(), int64(time.Since(began)/(50*time.Millisecond))+2; n == 0 || n > most {
		t.Errorf("asked %d times for twenty, at most %d are due", n, most)
	}
}

// TestRoutesAreForOperatorsOnly: who is not logged in sees none.
func TestRoutesAreForOperatorsOnly(t *testing.T) {
	p := over(t, func(context.Context) []server.Gateway { return nil })
	answer := p.get("/api/live")
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusUnauthorized || strings.Contains(string(text), "gateways") {
		t.Errorf("%d %s", answer.StatusCode, text)
	}
}

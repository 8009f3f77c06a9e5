package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/apps/sms-gateway/route"
	"github.com/popvote/popvote/apps/sms-gateway/simulator"
	"github.com/popvote/popvote/libs/redistest"
	"github.com/popvote/popvote/libs/service"
	"github.com/popvote/popvote/libs/service/servicetest"
	"github.com/popvote/popvote/libs/sms"
)

// example is the table of docs/sms.md.
func example(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/sms.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(page), "```yaml\n")
	table, _, found := strings.Cut(after, "```")
	if !found {
		t.Fatal("docs/sms.md shows no table")
	}
	return table
}

func TestTheDocumentedTableWorks(t *testing.T) {
	deps := route.Deps{Clock: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}
	network, err := simulator.New(simulator.Config{Embedded: true, Addresses: []string{"127.0.0.1:1"}, InboundNumber: "+85264500000"},
		simulator.Deps{Clock: time.Now, Log: deps.Log, Metrics: deps.Metrics})
	if err != nil {
		t.Fatal(err)
	}
	table, err := route.Parse([]byte(example(t)), kinds(network))
	if err != nil {
		t.Fatal(err)
	}
	router, err := route.New(table, kinds(network), deps)
	if err != nil {
		t.Fatal(err)
	}
	for _, number := range []sms.Number{"+85291234567", "+447700900123"} {
		if err := router.Send(t.Context(), sms.Message{ID: "m", To: number, Text: "x"}); err != nil {
			t.Error(err)
		}
	}
	if _, err := route.Parse([]byte(example(t)), kinds(nil)); err == nil {
		t.Error("there is no simulated network, and routes lead to it")
	}
}

// TestItSendsByTheTable: an API server's message goes by a route of the table, another country's by none; what
// it is told of conversations counts; and there is a place for providers to call.
func TestItSendsByTheTable(t *testing.T) {
	dir, redis := site(t), redistest.Start(t)
	var errs servicetest.Output
	at, stop := servicetest.Start(t, run, 4, &errs, &errs, arguments(dir, redis.Addr(), "-providers", tableFile(t, example(t)), "-hooks-listen", "127.0.0.1:0")...)
	sender := sending(t, dir, at["sending"])
	if err := sender.Send(t.Context(), sms.Message{ID: "m1", To: "+447700900123", Text: "123456", Conversation: "c"}); err != nil {
		t.Error(err)
	}
	if err := sender.Send(t.Context(), sms.Message{ID: "m2", To: "+33612345678", Text: "123456"}); err == nil {
		t.Error("a country that isn't listed got an SMS")
	}
	for _, want := range []string{
		`popvote_sms_sent_total{outcome="sent",route="second"} 1`, `reason="country"} 1`,
		`popvote_sms_spent{currency="HKD",in="hour",to="+44"} 0.42`, `state="delivered"} 1`,
	} {
		if _, body := servicetest.Get(t, "http://"+at["admin"]+"/metrics"); !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	if code, _ := servicetest.Get(t, "http://"+at["hooks"]+"/hooks/first"); code != 404 {
		t.Errorf("a provider that calls nobody: %d", code)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestItRefusesABadTable(t *testing.T) {
	dir := site(t)
	broken := filepath.Join(dir, "broken.yaml")
	if err := os.WriteFile(broken, []byte("routes: [{name: a, kind: pigeon}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		args []string
		says string
	}{
		"a table that is broken":  {arguments(dir, "127.0.0.1:6379", "-providers", broken), "pigeon"},
		"no table there":          {arguments(dir, "127.0.0.1:6379", "-providers", filepath.Join(dir, "none.yaml")), "-providers"},
		"hooks without providers": {arguments(dir, "127.0.0.1:6379", "-hooks-listen", "127.0.0.1:0"), "-hooks-listen"},
		"hooks for everybody":     {arguments(dir, "127.0.0.1:6379", "-providers", broken, "-hooks-listen", ":0"), "loopback"},
		"no simulated network":    {arguments(dir, "127.0.0.1:6379", "-providers", broken)[1:], "pigeon"},
	} {
		var errs servicetest.Output
		if err := run(t.Context(), c.args, &errs, &errs); service.ExitCode(err) != service.ExitConfig || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestARouteOfEachKind: every kind can stand in a table, with its own configuration, and says what is wrong with it.
func TestARouteOfEachKind(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("0123456789abcdef0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	for kind, config := range map[string]string{
		"twilio":  "{account: AC00000000000000000000000000000000, auth-token-file: " + secret + ", from: '+85264500000', public-url: 'https://sms.example/hooks/r'}",
		"webhook": "{url: 'https://gateway.example/send?to={to-digits}&text={text}', method: GET}",
	} {
		table := func(config string) string {
			return "currency: HKD\ngateways: 1\nspend: {hour: 10, day: 100}\nblock-hour: 5\nroutes: [{name: r, kind: " + kind + ", config: " + config + "}]\n" +
				"countries: [{prefix: '+852', routes: [{route: r, weight: 1, price: 0.1}]}]\n"
		}
		deps := route.Deps{Clock: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), HTTP: providerClient()}
		parsed, err := route.Parse([]byte(table(config)), kinds(nil))
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		router, err := route.New(parsed, kinds(nil), deps)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if len(router.Hooked()) != 1 {
			t.Errorf("%s: %d routes may call us, want 1", kind, len(router.Hooked()))
		}
		if parsed, err = route.Parse([]byte(table("{nonsense: 1}")), kinds(nil)); err == nil {
			_, err = route.New(parsed, kinds(nil), deps)
		}
		if err == nil || !strings.Contains(err.Error(), "nonsense") {
			t.Errorf("%s takes nonsense: %v", kind, err)
		}
	}
}

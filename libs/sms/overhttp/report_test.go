package overhttp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/discovery"
	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/sms"
)

var counted = sms.Counts{
	Sent: 90, Failed: 3, Unknown: 2, Calls: 4, Delivered: 80, Undelivered: 5, Delays: []sms.Delay{{Within: 0.5, Count: 79}, {Count: 1}},
	Used: 0.75, Settled: 60, SpentHour: 25.2, SpentDay: 26.04,
}

var report = sms.Report{
	At: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), Since: time.Date(2030, 1, 2, 0, 0, 0, 0, time.UTC), Currency: "HKD",
	Routes: []sms.RouteReport{{
		Name: "first", Kind: "smpp", Counts: counted, Countries: []sms.CountryReport{{To: "+852", Counts: counted}},
		Faults: sms.BreakerOpen, Conversion: sms.BreakerClosed, RestsUntil: time.Date(2030, 1, 2, 3, 4, 10, 0, time.UTC), Away: true,
		Trouble: &sms.Trouble{At: time.Date(2030, 1, 2, 3, 4, 0, 0, time.UTC), What: "unavailable"},
	}},
	Spending: []sms.Spending{{To: "all", Hour: 25.2, HourCap: 100, Day: 26.04, DayCap: 400}},
	Refused:  map[string]int64{"spent": 7},
}

func reporting(said sms.Report) http.Handler {
	return NewReportHandler(func(context.Context) sms.Report { return said }, []string{"control-panel"})
}

// asking is a reporter with a service's certificate, and gateways at addresses in the clouds of the same place.
func asking(t *testing.T, f *mtls.Files, clouds []string, addresses ...string) *Reporter {
	t.Helper()
	instances := make([]discovery.Instance, len(addresses))
	for i, a := range addresses {
		instances[i] = discovery.Instance{Address: a, Cloud: clouds[i]}
	}
	finder, err := discovery.NewStatic(map[string][]discovery.Instance{Service: instances})
	if err != nil {
		t.Fatal(err)
	}
	r := NewReporter(finder, f.Client(Service))
	t.Cleanup(r.Close)
	return r
}

func TestAReportArrivesAsItWasMade(t *testing.T) {
	files := certificates(t)
	r := asking(t, files("control-panel"), []string{"aws"}, serve(t, files("sms-gateway"), reporting(report)))
	all := r.Reports(t.Context())
	if len(all) != 1 || all[0].Err != nil || all[0].Cloud != "aws" || !reflect.DeepEqual(all[0].Report, report) {
		t.Errorf("%+v", all)
	}
	if all := asking(t, files("control-panel"), nil).Reports(t.Context()); len(all) != 0 {
		t.Errorf("of no gateway: %+v", all)
	}
}

func TestOnlyWhoIsListedReadsReports(t *testing.T) {
	files := certificates(t)
	gateway := serve(t, files("sms-gateway"), reporting(report))
	for service, may := range map[string]bool{"control-panel": true, "api-server": false, "sms-gateway": false} {
		got := asking(t, files(service), []string{""}, gateway).Reports(t.Context())[0]
		if may != (got.Err == nil) || !may && !errors.Is(got.Err, ErrNotTold) || !may && got.Report.Routes != nil {
			t.Errorf("%s: %+v", service, got)
		}
	}
	// Whoever answers in the gateway's place with another certificate is not believed.
	impostor := serve(t, files("api-server"), reporting(report))
	if got := asking(t, files("control-panel"), []string{""}, impostor).Reports(t.Context())[0]; !errors.Is(got.Err, mtls.ErrWrongService) {
		t.Errorf("an impostor: %v", got.Err)
	}
}

// TestOneSilentGatewayHidesNoOther: all are asked at once, and nobody waits for the silent ones longer than for one.
func TestOneSilentGatewayHidesNoOther(t *testing.T) {
	files := certificates(t)
	gateway := files("sms-gateway")
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	hangs := func() http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	}
	says := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) })
	}
	yesterday := NewHandler(&provider{}, []string{"api-server"}, slog.New(slog.DiscardHandler))
	rows := []struct {
		cloud   string
		address string
		err     error // nil: any
	}{
		{"b: nobody listens", free.Addr().String(), nil},
		{"c: says nothing", mute.Addr().String(), nil},
		{"d: hangs", serve(t, gateway, hangs()), nil},
		{"e: hangs, too", serve(t, gateway, hangs()), nil},
		{"f: is of yesterday", serve(t, gateway, yesterday), ErrNoReport},
		{"g: says what nobody understands", serve(t, gateway, says("<html>")), nil},
		{"h: says too much", serve(t, gateway, says(`{"currency":"`+strings.Repeat("x", maxReport)+`"}`)), nil},
		{"a: is well", serve(t, gateway, reporting(report)), nil},
		{"i: is of tomorrow", serve(t, gateway, says(`{"currency":"HKD","colour":"blue"}`)), nil},
	}
	var clouds, addresses []string
	for _, row := range rows {
		clouds, addresses = append(clouds, row.cloud), append(addresses, row.address)
	}
	began := time.Now()
	all := asking(t, files("control-panel"), clouds, addresses...).Reports(t.Context())
	if took := time.Since(began); took > 2*reportWithin {
		t.Errorf("it took %s", took)
	}
	if len(all) != len(rows) || !strings.HasPrefix(all[0].Cloud, "a:") || !strings.HasPrefix(all[len(all)-1].Cloud, "i:") {
		t.Fatalf("%+v", all)
	}
	for _, got := range all {
		well := got.Cloud[0] == 'a' || got.Cloud[0] == 'i'
		if well != (got.Err == nil) || well != (got.Report.Currency == "HKD") {
			t.Errorf("%s: %v", got.Cloud, got.Err)
		}
		for _, row := range rows {
			if row.cloud == got.Cloud && row.err != nil && !errors.Is(got.Err, row.err) {
				t.Errorf("%s: %v", got.Cloud, got.Err)
			}
		}
	}
}

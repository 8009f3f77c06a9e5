package route

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
)

// demanding is a configuration of a kind.
type demanding struct {
	URL    string        `koanf:"url"`
	Within time.Duration `koanf:"with-in"`
	Deep   []string      `koanf:"deep"`
}

// Validate is what a program's configuration has, too.
func (d demanding) Validate() error {
	if d.URL == "" {
		return errors.New("url is missing")
	}
	return nil
}

func TestATableIsReadStrictly(t *testing.T) {
	kinds := map[string]Kind{"fake": nil, "other": nil}
	for name, c := range map[string]struct{ old, new, says string }{
		"an unknown key":         {"currency: HKD", "curency: HKD", "curency"},
		"no YAML":                {"currency: HKD", "currency: [", "["},
		"an unknown kind":        {"name: a, kind: fake", "name: a, kind: pigeon", `routes[0].kind: "pigeon" is none of fake, other`},
		"a bad name":             {"name: a, kind", "name: A/b, kind", "routes[0].name"},
		"two of a name":          {"name: b, kind", "name: a, kind", "routes[1].name: there are two"},
		"no such route":          {"route: b, w", "route: x, w", `there is no route "x"`},
		"a route twice":          {"route: b, w", "route: a, w", "routes[1].route: there are two"},
		"a bad prefix":           {`"+852"`, `"852"`, `countries[0].prefix: "852"`},
		"a negative weight":      {"weight: 3", "weight: -3", "weight"},
		"a negative price":       {"price: 0.5", "price: -0.5", "-0.5"},
		"a price that isn't one": {"price: 0.5", "price: cheap", "cheap"},
		"too exact a price":      {"price: 0.5", "price: 0.12345678", "0.12345678"},
		"no cap":                 {"spend: {hour: 1000, day: 10000}", "", "spend: wants"},
		"no cap for a block":     {"block-hour: 1000", "", "block-hour"},
		"no currency":            {"currency: HKD", "", "currency: is missing"},
		"too small a sample":     {"currency: HKD", "currency: HKD\nconversion: {block: {sample: 49}}", "conversion.block.sample"},
		"too large a share":      {"currency: HKD", "currency: HKD\nconversion: {route: {least: 1.5}}", "conversion.route.least"},
		"half a cap":             {`"+852"`, "\"+852\"\n    spend: {hour: 1}", "countries[0].spend"},
		"no gateway":             {"currency: HKD", "currency: HKD\ngateways: -1", "gateways"},
		"two countries":          {"currency: HKD", "currency: HKD\ncountries: []", "countries"},
	} {
		text := strings.Replace(three, c.old, c.new, 1)
		if text == three {
			t.Fatalf("%s: nothing is changed", name)
		}
		if _, err := Parse([]byte(text), kinds); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{"", "{}", "[]", strings.Repeat("#", maxTable+1)} {
		if _, err := Parse([]byte(text), kinds); err == nil {
			t.Errorf("%.20q is no table, and was taken for one", text)
		}
	}
}

func TestARoutesOwnConfigurationReachesIt(t *testing.T) {
	var got demanding
	kinds := map[string]Kind{"demanding": KindOf(func(c demanding, deps provider.Deps) (*fake, error) {
		got = c
		return &fake{deps: deps}, nil
	}), "broken": KindOf(func(struct{}, provider.Deps) (provider.Provider, error) { return nil, errors.New("no credentials") })}
	const text = `
routes:
  - name: here
    kind: demanding
    config:
      url: https://sms.example/
      with-in: 3s
      deep:
        - a
        - b
countries: [{prefix: "+852", routes: [{route: here, weight: 1}]}]
`
	open := func(text string) (*Router, error) {
		path := filepath.Join(t.TempDir(), "routes.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		table, err := Read(path, kinds)
		if err != nil {
			return nil, err
		}
		return New(table, kinds, Deps{Clock: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	}
	if _, err := open(text); err != nil {
		t.Fatal(err)
	}
	if got.URL != "https://sms.example/" || got.Within != 3*time.Second || len(got.Deep) != 2 {
		t.Errorf("%+v", got)
	}
	for what, c := range map[string][2]string{
		"an unknown key":        {strings.Replace(text, "with-in", "withn", 1), "withn"},
		"a wrong value":         {strings.Replace(text, "3s", "soon", 1), "with-in"},
		"what Validate misses":  {strings.Replace(text, "url: https://sms.example/", "url:", 1), "url is missing"},
		"one that can't be had": {strings.Replace(text, "kind: demanding", "kind: broken\n    conf: {}", 1), "conf"},
		"no credentials":        {strings.Replace(text[:strings.Index(text, "    config")], "demanding", "broken", 1) + text[strings.Index(text, "countries"):], "couldn't make the route here: no credentials"},
	} {
		if _, err := open(c[0]); err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestFreeReachesEverywhere(t *testing.T) {
	kinds := map[string]Kind{"fake": nil}
	free := Free("simulated", "fake", false)
	if err := free.check(kinds); err != nil {
		t.Fatal(err)
	}
	if free.country("+85291234567") != 0 || free.country("+1") != 0 || free.country("852") >= 0 {
		t.Error("it doesn't")
	}
}

func TestMoneyIsExact(t *testing.T) {
	for text, want := range map[string]Money{"0": 0, "1": unit, "0.5": unit / 2, "0.0575": 57500, "1000000000": maxUnits * unit, "2.000001": 2000001} {
		if got, err := ParseMoney(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", ".5", "1.", "-1", "1e3", "0.0000001", "1.-5", "1.+5", "99999999999", "0x10", "1 000"} {
		if got, err := ParseMoney(text); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
	if got := Money(57500).String(); got != "0.0575" {
		t.Error(got)
	}
}

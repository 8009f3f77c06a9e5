package route

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/goccy/go-yaml"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/libs/sms"
)

// Table is the file that says which provider sends an SMS, and what it may cost.
type Table struct {
	// Currency is what all amounts are in, for people: "HKD". Figures name it.
	Currency string `yaml:"currency"`
	// Gateways is how many gateways share the caps: each spends its part, whether the others use theirs or not.
	// A gateway that starts again has spent nothing. Default: 1.
	Gateways int `yaml:"gateways"`
	// Spend are the caps for everything. Required where a route costs anything.
	Spend Caps `yaml:"spend"`
	// BlockHour is the most that codes to one block of 10,000 numbers (all but the last four digits are the
	// same) may cost in any hour. Required where a route costs anything.
	BlockHour Money `yaml:"block-hour"`
	// Conversion says when codes that are not used count against a route, which then comes last, and against
	// a block of numbers, which then is sent none.
	Conversion struct {
		Route Conversion `yaml:"route"`
		Block Conversion `yaml:"block"`
	} `yaml:"conversion"`
	// Slow is how long a provider may take without it counting as a fault. Default: 3s.
	Slow time.Duration `yaml:"slow"`
	// Routes are the providers, as often as there are accounts with them.
	Routes []Route `yaml:"routes"`
	// Countries are where SMS go at all: of the prefixes that fit a number the longest counts. To others
	// none is sent.
	Countries []Country `yaml:"countries"`
}

// Route is an account with a provider.
type Route struct {
	// Name is letters, digits and hyphens; figures have it, and the path of the provider's webhooks, /hooks/NAME.
	Name string `yaml:"name"`
	// Kind is the kind of provider.
	Kind string `yaml:"kind"`
	// Config is as the kind wants it. Secrets are paths of files.
	Config yaml.RawMessage `yaml:"config"`
}

// Country is what begins with a prefix.
type Country struct {
	// Prefix is "+852", as long as is wanted; "+" is everywhere.
	Prefix string `yaml:"prefix"`
	// BlockedMovesOn sends what a provider refused as fraud by the next one. Default: no.
	BlockedMovesOn bool `yaml:"blocked-moves-on"`
	// Spend are caps of its own. Default: those for everything.
	Spend Caps `yaml:"spend"`
	// Legs are its routes.
	Legs []Leg `yaml:"routes"`
}

// Leg is a route to a country.
type Leg struct {
	Route string `yaml:"route"`
	// Weight is its share of the messages, beside the others'. 0 is for a route that takes what the ones
	// above it don't: those come in the order in which they are written.
	Weight float64 `yaml:"weight"`
	// Price is what a message costs, of one segment.
	Price Money `yaml:"price"`
	// CallPrice is what a call costs in which a code is spoken. Default: none is made by this route.
	CallPrice *Money `yaml:"call-price"`
}

// price is what a message of a kind costs; not ok if there are none of it.
func (l Leg) price(kind sms.Kind) (price Money, ok bool) {
	switch {
	case kind != sms.ByCall:
		return l.Price, true
	case l.CallPrice != nil:
		return *l.CallPrice, true
	}
	return 0, false
}

// Kind makes a provider of a route's configuration.
type Kind func(config []byte, deps provider.Deps) (provider.Provider, error)

// KindOf is a provider's own constructor with its own configuration, read as strictly as a program's: its
// fields have koanf tags, and its method Validate() error, if there is one, has the last word.
func KindOf[C any, P provider.Provider](open func(C, provider.Deps) (P, error)) Kind {
	return func(text []byte, deps provider.Deps) (provider.Provider, error) {
		var config C
		if err := readConfig(text, &config); err != nil {
			return nil, fmt.Errorf("couldn't read its config: %w", err)
		}
		p, err := open(config, deps)
		if err != nil {
			return nil, err
		}
		return p, nil
	}
}

func readConfig(text []byte, into any) error {
	var keys map[string]any
	if err := yaml.UnmarshalWithOptions(text, &keys); err != nil {
		return err
	}
	d, err := mapstructure.NewDecoder(&mapstructure.DecoderConfig{
		Result: into, TagName: "koanf", ErrorUnused: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			mapstructure.StringToTimeDurationHookFunc(),
			mapstructure.StringToSliceHookFunc(","),
			mapstructure.TextUnmarshallerHookFunc(),
		),
	})
	if err != nil {
		return err
	}
	if err := d.Decode(keys); err != nil {
		return err
	}
	if v, ok := into.(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return nil
}

// maxTable is the longest table that is read.
const maxTable = 1 << 20

// Read reads a table, and says all that is wrong with it. Kinds are those that there are.
func Read(path string, kinds map[string]Kind) (*Table, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("couldn't read the table of routes: %w", err)
	}
	t, err := Parse(text, kinds)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// Parse is Read of a file's content.
func Parse(text []byte, kinds map[string]Kind) (*Table, error) {
	if len(text) > maxTable {
		return nil, errors.New("it is too long to be a table of routes")
	}
	t := new(Table)
	if err := yaml.UnmarshalWithOptions(text, t, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("couldn't read the table of routes:\n%w", err)
	}
	if err := t.check(kinds); err != nil {
		return nil, fmt.Errorf("the table of routes is broken:\n%w", err)
	}
	return t, nil
}

// Free is the table of one route that reaches everywhere and costs nothing. Calls says whether it makes some.
func Free(name, kind string, calls bool) *Table {
	leg := Leg{Route: name, Weight: 1}
	if calls {
		leg.CallPrice = new(Money)
	}
	return &Table{Routes: []Route{{Name: name, Kind: kind}}, Countries: []Country{{Prefix: "+", Legs: []Leg{leg}}}}
}

var (
	goodName   = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)
	goodPrefix = regexp.MustCompile(`^\+([1-9][0-9]{0,11})?$`)
)

// check fills in defaults, and says what is wrong.
func (t *Table) check(kinds map[string]Kind) error {
	var wrong []error
	must := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	if t.Gateways == 0 {
		t.Gateways = 1
	}
	if t.Slow == 0 {
		t.Slow = 3 * time.Second
	}
	must(t.Gateways > 0, "gateways: is below 1")
	must(t.Slow > 0, "slow: is no time")
	t.Conversion.Route = t.Conversion.Route.withDefaults(0.2)
	t.Conversion.Block = t.Conversion.Block.withDefaults(0.05)
	for _, row := range []struct {
		name string
		Conversion
	}{{"route", t.Conversion.Route}, {"block", t.Conversion.Block}} {
		c, name := row.Conversion, row.name
		must(c.Least > 0 && c.Least <= 1, "conversion.%s.least: is not between 0 and 1", name)
		must(c.Sample >= minSample, "conversion.%s.sample: is below %d, which says nothing", name, minSample)
		must(c.Settle >= 10*time.Second && c.Settle <= 20*time.Minute, "conversion.%s.settle: is not between 10s and 20m", name)
		must(c.Rest >= time.Minute, "conversion.%s.rest: is below 1m", name)
	}
	names := map[string]bool{}
	must(len(t.Routes) > 0, "routes: there is none")
	for i, r := range t.Routes {
		must(goodName.MatchString(r.Name), "routes[%d].name: %q is not small letters, digits and hyphens, at most 32", i, r.Name)
		must(!names[r.Name], "routes[%d].name: there are two of %q", i, r.Name)
		_, known := kinds[r.Kind]
		must(known, "routes[%d].kind: %q is none of %s", i, r.Kind, strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
		names[r.Name] = true
	}
	prefixes, paid := map[string]bool{}, false
	must(len(t.Countries) > 0, "countries: there is none, so no SMS goes anywhere")
	for i, c := range t.Countries {
		must(goodPrefix.MatchString(c.Prefix), "countries[%d].prefix: %q is not like \"+852\"", i, c.Prefix)
		must(!prefixes[c.Prefix], "countries[%d].prefix: there are two of %q", i, c.Prefix)
		must(len(c.Legs) > 0, "countries[%d].routes: there is none", i)
		must((c.Spend.Hour == 0) == (c.Spend.Day == 0), "countries[%d].spend: wants both hour and day, or neither", i)
		prefixes[c.Prefix] = true
		used := map[string]bool{}
		for j, leg := range c.Legs {
			must(names[leg.Route], "countries[%d].routes[%d].route: there is no route %q", i, j, leg.Route)
			must(!used[leg.Route], "countries[%d].routes[%d].route: there are two of %q", i, j, leg.Route)
			must(leg.Weight >= 0 && leg.Weight <= 1e6, "countries[%d].routes[%d].weight: is not between 0 and 1,000,000", i, j)
			used[leg.Route] = true
			for _, kind := range []sms.Kind{sms.ByText, sms.ByCall} {
				price, _ := leg.price(kind)
				paid = paid || price > 0
				must(price == 0 || price <= t.BlockHour/Money(max(1, t.Gateways)),
					"block-hour: a gateway's part of it pays for no message of countries[%d].routes[%d]", i, j)
			}
		}
		if c.Spend == (Caps{}) {
			t.Countries[i].Spend = t.Spend
		}
	}
	must(!paid || t.Spend.Hour > 0 && t.Spend.Day > 0, "spend: wants an hour's and a day's cap, because routes cost money")
	must(!paid || t.Currency != "", "currency: is missing, because routes cost money")
	return errors.Join(wrong...)
}

// country is that of the longest prefix that fits; below 0 if none does.
func (t *Table) country(number string) int {
	best := -1
	for i, c := range t.Countries {
		if strings.HasPrefix(number, c.Prefix) && (best < 0 || len(c.Prefix) > len(t.Countries[best].Prefix)) {
			best = i
		}
	}
	return best
}

package main

import (
	"errors"
	"flag"

	"github.com/spf13/pflag"

	"github.com/popvote/popvote/apps/api-server/humancheck"
	apiserver "github.com/popvote/popvote/apps/api-server/server"
	"github.com/popvote/popvote/apps/api-server/toll"
	"github.com/popvote/popvote/libs/ratelimit"
	"github.com/popvote/popvote/libs/service"
)

// upConfig is what an instance is told. Every field is a flag, a variable (POPVOTE_…) and a key of
// the configuration file, of the same name.
type upConfig struct {
	Data         string            `koanf:"data" doc:"The data directory: database, keys, the demo's shares. Made if it is not there."`
	Listen       string            `koanf:"listen" doc:"Where voters come: the page and the Public Channels API."`
	PanelListen  string            `koanf:"panel-listen" doc:"Where operators come: the control panel."`
	PhoneListen  string            `koanf:"phone-listen" doc:"Where the simulated phone is. Never on a network: whoever reaches it can send SMS as anybody."`
	AdminListen  string            `koanf:"admin-listen" doc:"Where probes come: /livez, /readyz, /metrics, /version."`
	PublicOrigin string            `koanf:"public-origin" doc:"The voter page's origin as browsers see it (https://vote.example.hk). Default: whatever Host a request names."`
	RequireKey   bool              `koanf:"require-passkey" doc:"Refuse what changes a poll to operators who have no passkey yet. Those who have one always confirm it by it. Needs --panel-origin to be a name."`
	Needed       int               `koanf:"operators-needed" doc:"How many operators it takes to open, close, extend and publish a poll in the panel and to destroy its identity key: 1, or 2, of whom one proposes and another confirms within an hour, each by a passkey. Commands on this machine need one."`
	PanelOrigin  string            `koanf:"panel-origin" doc:"The control panel's origin as browsers see it. Default: http:// and the address it listens on."`
	AllowOrigin  []string          `koanf:"allow-origin" doc:"Origins of mirrors whose pages may call the API, separated by commas. Default: none."`
	Proxies      []string          `koanf:"trusted-proxies" doc:"Addresses or networks whose X-Forwarded-For and X-Forwarded-Proto are believed, separated by commas; none where clients connect directly."`
	Cost         int               `koanf:"challenge-cost" doc:"Work of one proof-of-work try, PBKDF2 iterations. More deters more, and costs this machine one try per session."`
	Most         int               `koanf:"challenge-most" doc:"The most that the work is multiplied by, near this machine's limits and for networks whose sessions come to nothing: 1 (never), 2, 4 or 8. Checking costs no more."`
	Admission    float64           `koanf:"admission-rate" doc:"How many sessions a second it begins. Who is beyond it waits, first come, first served; ballots that were begun are not held up. From half of it on everybody's proof of work gets dearer."`
	InboundSMS   string            `koanf:"inbound-number" doc:"The number voters text, E.164; the simulated phone network knows any."`
	Countries    []string          `koanf:"phone-countries" doc:"What voters' phone numbers may begin with (+852,+853), separated by commas, or any."`
	Pprof        bool              `koanf:"pprof" doc:"Also serve Go's profiles on the admin listener. Whoever reaches it can slow the process down."`
	Log          service.LogConfig `koanf:"log"`
	Limits       limitsConfig      `koanf:"limits"`

	Security apiserver.Security `koanf:"security"`
	Human    humancheck.Config  `koanf:"human-check"`
}

type limitsConfig struct {
	Scale    float64                   `koanf:"scale" doc:"Multiplies every limit. For benchmarks that play a city from one address, and nothing else."`
	Override map[string]ratelimit.Rate `koanf:"override" doc:"Limits by name, with count and window, as docs/limits.md lists them."`

	Polls map[string]map[string]ratelimit.Rate `koanf:"polls" doc:"Limits of single polls, by the poll's id and the limit's name, with count and window. What is done in such a poll is counted apart."`
}

func defaultUpConfig() *upConfig {
	return &upConfig{
		Data:        "data",
		Listen:      "127.0.0.1:8080",
		Needed:      1,
		PanelListen: "127.0.0.1:8081",
		PhoneListen: "127.0.0.1:8082",
		AdminListen: "127.0.0.1:8083",
		Proxies:     []string{"none"},
		Cost:        2000,
		Most:        toll.Highest.Times(),
		Admission:   apiserver.DefaultAdmissionRate,
		InboundSMS:  "+85264500000",
		Countries:   []string{"+852"},
		Log:         service.LogConfig{Level: "info", Format: "text"},
		Limits:      limitsConfig{Scale: 1},
	}
}

// Validate is called by service.LoadConfig.
func (c *upConfig) Validate() error {
	if c.Data == "" {
		return errors.New("data must name a directory")
	}
	if c.Cost < 1 {
		return errors.New("challenge-cost must be at least 1")
	}
	if _, err := toll.StepOf(c.Most); err != nil {
		return errors.New("challenge-most must be 1, 2, 4 or 8")
	}
	if c.Admission <= 0 {
		return errors.New("admission-rate must be more than 0")
	}
	return nil
}

// upFlags makes the configuration's flags, and those that are not part of it.
type upFlags struct {
	set      *flag.FlagSet
	file     string
	polls    []string
	seedDemo bool
	output   output
}

func (f *upFlags) define(flags *pflag.FlagSet) {
	f.set = flag.NewFlagSet("up", flag.ContinueOnError)
	service.Flags(f.set, defaultUpConfig())
	flags.AddGoFlagSet(f.set)
	flags.StringVar(&f.file, "config", "", "a YAML file with any of these settings")
	flags.StringArrayVar(&f.polls, "poll", nil, "a poll file to apply as a draft at the start (repeat)")
	flags.BoolVar(&f.seedDemo, "seed-demo", false, "create and open the sample polls, with tally keys of their own")
	f.output.flag(flags)
}

func (f *upFlags) load() (*upConfig, error) {
	if err := f.output.check(); err != nil {
		return nil, err
	}
	c := defaultUpConfig()
	err := service.LoadConfig(c, service.Sources{File: f.file, EnvPrefix: "POPVOTE_", Flags: f.set})
	return c, err
}

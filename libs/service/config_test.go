package service

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

type testConfig struct {
	Address string        `koanf:"address" doc:"Where to listen."`
	Wait    time.Duration `koanf:"wait" doc:"How long to wait."`
	Limit   int           `koanf:"limit" doc:"How many."`
	Strict  bool          `koanf:"strict" doc:"Whether."`
	Origins []string      `koanf:"origins" doc:"From where."`
	Log     LogConfig     `koanf:"log"`
}

func (c *testConfig) Validate() error {
	if c.Limit < 0 {
		return errors.New("limit is negative")
	}
	return nil
}

func defaults() *testConfig {
	return &testConfig{Address: "127.0.0.1:1", Wait: time.Second, Limit: 7, Origins: []string{"a", "b"}, Log: DefaultLog()}
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func parsed(t *testing.T, args ...string) *flag.FlagSet {
	t.Helper()
	set := flag.NewFlagSet("test", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	Flags(set, defaults())
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return set
}

func TestConfigFlagsBeatEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	config := defaults()
	err := LoadConfig(config, Sources{
		File:      writeFile(t, "address: file:1\nwait: 2s\nlimit: 1\norigins: [c]\nlog:\n  level: debug\n"),
		EnvPrefix: "POPVOTE_",
		Environ:   []string{"POPVOTE_WAIT=3s", "POPVOTE_LIMIT=2", "POPVOTE_LOG_FORMAT=text", "HOME=/root"},
		Flags:     parsed(t, "-limit", "3", "-strict"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if config.Address != "file:1" || config.Wait != 3*time.Second || config.Limit != 3 || !config.Strict ||
		!slices.Equal(config.Origins, []string{"c"}) || config.Log != (LogConfig{Level: "debug", Format: "text"}) {
		t.Errorf("got %+v", *config)
	}
}

func TestConfigWithNothingGivenIsTheDefault(t *testing.T) {
	config := defaults()
	if err := LoadConfig(config, Sources{EnvPrefix: "POPVOTE_", Environ: []string{}, Flags: parsed(t)}); err != nil {
		t.Fatal(err)
	}
	if want := defaults(); config.Address != want.Address || !slices.Equal(config.Origins, want.Origins) || config.Log != want.Log {
		t.Errorf("got %+v", *config)
	}
}

func TestConfigWrongIsFatalAndSaysWhere(t *testing.T) {
	for name, one := range map[string]struct {
		file string
		env  []string
		want string
	}{
		"unknown key":            {file: "lisen: x", want: `unknown key "lisen"`},
		"unknown key in section": {file: "log: {lvel: info}", want: `unknown key "log.lvel"`},
		"two unknown keys":       {file: "b: 1\na: 1", want: `unknown key "a"`},
		"key twice":              {file: "limit: 1\nlimit: 2", want: "already defined at line 1"},
		"key without a value":    {file: "limit:", want: `key "limit"`},
		"number as text":         {file: `limit: "many"`, want: "limit"},
		"text as number":         {file: "address: 8080", want: "address"},
		"bad duration":           {file: "wait: soon", want: "'wait'"},
		"not YAML":               {file: "{", want: "config.yaml"},
		"unknown variable":       {env: []string{"POPVOTE_LISEN=x"}, want: `unknown variable "POPVOTE_LISEN"`},
		"bad variable":           {env: []string{"POPVOTE_LIMIT=many"}, want: `POPVOTE_LIMIT: "many" is not a whole number`},
		"not valid together":     {env: []string{"POPVOTE_LIMIT=-1"}, want: "limit is negative"},
	} {
		t.Run(name, func(t *testing.T) {
			from := Sources{EnvPrefix: "POPVOTE_", Environ: append([]string{}, one.env...)}
			if one.file != "" {
				from.File = writeFile(t, one.file)
			}
			err := LoadConfig(defaults(), from)
			if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), one.want) {
				t.Errorf("got %v, want ErrConfig with %q", err, one.want)
			}
		})
	}
	if err := LoadConfig(defaults(), Sources{File: filepath.Join(t.TempDir(), "none.yaml")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestConfigVariablesOfOthersAreLeftAlone(t *testing.T) {
	from := Sources{EnvPrefix: "POPVOTE_", Environ: []string{"POPVOTE_CONFIG=x", "OTHER=1"}, EnvIgnore: []string{"POPVOTE_CONFIG"}}
	if err := LoadConfig(defaults(), from); err != nil {
		t.Error(err)
	}
}

func TestConfigFlagsShowDocAndDefault(t *testing.T) {
	set := flag.NewFlagSet("test", flag.ContinueOnError)
	var out strings.Builder
	set.SetOutput(&out)
	Flags(set, defaults())
	set.PrintDefaults()
	for _, want := range []string{"-wait", "How long to wait. (default 1s)", "-log-level", "How many. (default 7)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("help is without %q:\n%s", want, out.String())
		}
	}
	if err := set.Parse([]string{"-limit", "many"}); err == nil {
		t.Error("a bad flag was taken")
	}
}

func TestConfigWithoutDocIsABug(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a field without a doc tag was taken")
		}
	}()
	Flags(flag.NewFlagSet("test", flag.ContinueOnError), &struct {
		A string `koanf:"a"`
	}{})
}

// Package service is what every program of PopVote does alike: reading its configuration strictly,
// logging, saying which version it is, answering probes and metrics on a listener of its own, serving,
// and stopping without dropping anybody. It must never import a database driver: every program,
// also those that must have none, imports it.
package service

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/v2"
)

// ErrConfig is a configuration, or a command line, that a program can't run with.
var ErrConfig = errors.New("bad configuration")

// Sources are where a configuration comes from; each overrules the one above it.
type Sources struct {
	// File is the path of a YAML file; empty means none.
	File string
	// EnvPrefix starts the names of the variables that count ("POPVOTE_"): admin.address is
	// POPVOTE_ADMIN_ADDRESS. Empty means that the environment is not read.
	EnvPrefix string
	// Environ is the environment; nil means os.Environ().
	Environ []string
	// EnvIgnore are variables with the prefix that are for somebody else.
	EnvIgnore []string
	// Flags are those that Flags defined, parsed; nil means none.
	Flags *flag.FlagSet
}

// LoadConfig fills the struct that config points to, which holds the defaults, from the sources. A
// key that the struct doesn't have is an error that names it, wherever it stands: a misspelt limit
// must not silently be no limit. If the struct has a method Validate() error, that has the last
// word. All errors are ErrConfig.
func LoadConfig(config any, from Sources) error {
	fields := fieldsOf(config)
	k := koanf.New(".")
	err := errors.Join(
		loadFile(k, from.File, fields),
		loadEnvironment(k, from, fields),
		loadFlags(k, from.Flags),
	)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	err = k.UnmarshalWithConf("", config, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		TagName:     "koanf",
		ErrorUnused: true,
		// A list given replaces the default, not only as many of its elements.
		ZeroFields: true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			mapstructure.StringToTimeDurationHookFunc(),
			mapstructure.TextUnmarshallerHookFunc(),
		),
	}})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if v, ok := config.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	return nil
}

// raw is a file's content.
type raw []byte

func (r raw) Read() (map[string]any, error) { return nil, errors.New("a file has to be parsed") }
func (r raw) ReadBytes() ([]byte, error)    { return r, nil }

func loadFile(k *koanf.Koanf, path string, fields []field) error {
	if path == "" {
		return nil
	}
	content, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return fmt.Errorf("couldn't read the configuration: %w", err)
	}
	if err := k.Load(raw(content), yaml.Parser()); err != nil {
		return fmt.Errorf("couldn't read %s: %w", path, err)
	}
	var wrong []error
	for key, value := range k.All() {
		switch {
		case !slices.ContainsFunc(fields, func(f field) bool { return f.holds(key) }):
			wrong = append(wrong, fmt.Errorf("unknown key %q in %s", key, path))
		case value == nil:
			wrong = append(wrong, fmt.Errorf("key %q in %s has no value", key, path))
		}
	}
	slices.SortFunc(wrong, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(wrong...)
}

func loadEnvironment(k *koanf.Koanf, from Sources, fields []field) error {
	if from.EnvPrefix == "" {
		return nil
	}
	environ := from.Environ
	if environ == nil {
		environ = os.Environ()
	}
	byName := map[string]field{}
	for _, f := range fields {
		byName[f.environment(from.EnvPrefix)] = f
	}
	var wrong []error
	for _, entry := range environ {
		name, text, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, from.EnvPrefix) || slices.Contains(from.EnvIgnore, name) {
			continue
		}
		f, known := byName[name]
		if !known {
			wrong = append(wrong, fmt.Errorf("unknown variable %q in the environment", name))
			continue
		}
		if err := set(k, f, text); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(wrong...)
}

// given is a flag's value that remembers whether it was set: flag.FlagSet.Visit doesn't know when
// another package's flag set, cobra's, wraps ours.
type given struct {
	field field
	text  string
	set   bool
}

func (g *given) String() string { return g.text }
func (g *given) IsBoolFlag() bool {
	return g.field.value.IsValid() && g.field.value.Kind() == reflect.Bool
}

func (g *given) Set(text string) error {
	if _, err := g.field.parse(text); err != nil {
		return err
	}
	g.text, g.set = text, true
	return nil
}

// Flags defines a flag for every field of the struct that config points to (admin.address is
// -admin-address), with the field's doc as its usage. Parse the set, then give it to LoadConfig.
func Flags(set *flag.FlagSet, config any) {
	for _, f := range fieldsOf(config) {
		set.Var(&given{field: f}, f.flag(), f.usage())
	}
}

func loadFlags(k *koanf.Koanf, flags *flag.FlagSet) error {
	if flags == nil {
		return nil
	}
	var wrong []error
	flags.VisitAll(func(f *flag.Flag) {
		if value, ours := f.Value.(*given); ours && value.set {
			if err := set(k, value.field, value.text); err != nil {
				wrong = append(wrong, fmt.Errorf("-%s: %w", f.Name, err))
			}
		}
	})
	return errors.Join(wrong...)
}

func set(k *koanf.Koanf, f field, text string) error {
	value, err := f.parse(text)
	if err != nil {
		return err
	}
	return k.Set(f.path, value)
}

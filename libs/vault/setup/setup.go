// Package setup brings a Vault to what a directory says: policies, engines, roles, audit devices. It
// changes only what differs, so that it can be run again at any time, and can say what differs instead.
package setup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"
)

// Config says what is wanted.
type Config struct {
	// Files are the policies (NAME.hcl), mounts.json and settings/*.json.
	Files fs.FS
	// Values stand for ${NAME} in the files. What needs one that is not there is left out.
	Values map[string]string
	// Check changes nothing.
	Check bool
}

// What is done about one thing, or would be.
const (
	Make   = "make"
	Change = "change"
	Skip   = "skip" // for want of a value
)

// Step is one thing that is not as it is wanted.
type Step struct {
	// Do is Make, Change or Skip.
	Do string `json:"do"`
	// Path is where, in Vault.
	Path string `json:"path"`
	// Why says what differs, without secrets.
	Why string `json:"why,omitempty"`
}

// Differs tells whether Vault is not as it is wanted.
func Differs(steps []Step) bool {
	return slices.ContainsFunc(steps, func(s Step) bool { return s.Do != Skip })
}

// ErrFixed is something that can't be changed once it was made.
var ErrFixed = errors.New("it can't be changed any more")

// setting is one thing of settings/*.json: data at a path.
type setting struct {
	Path string `json:"path"`
	// Read is the path that tells how it is, if that is another.
	Read string `json:"read"`
	// Each has it once for each of these, in the place of {}.
	Each []string `json:"each"`
	// Once is for what can't be changed later.
	Once bool           `json:"once"`
	Data map[string]any `json:"data"`
	// Secret are those of Data that Vault does not tell.
	Secret []string `json:"secret"`
}

type run struct {
	Config
	client *api.Client
	steps  []Step
	// absent are mounts that a check found missing: what is below them can't be read.
	absent []string
}

// Apply does what is to be done, or only says it. The steps that were done are returned with an error, too.
func Apply(ctx context.Context, client *api.Client, c Config) ([]Step, error) {
	r := &run{Config: c, client: client}
	for _, do := range []func(context.Context) error{r.policies, r.mounts, r.authorities, r.settings} {
		if err := do(ctx); err != nil {
			return r.steps, err
		}
	}
	return r.steps, nil
}

func (r *run) note(do, path, why string) { r.steps = append(r.steps, Step{do, path, why}) }

func (r *run) policies(ctx context.Context) error {
	files, err := fs.Glob(r.Files, "*.hcl")
	if err != nil || len(files) == 0 {
		return errors.Join(err, errors.New("couldn't find any policy: the directory has no .hcl files"))
	}
	for _, file := range files {
		text, err := fs.ReadFile(r.Files, file)
		if err != nil {
			return fmt.Errorf("couldn't read a policy: %w", err)
		}
		name := strings.TrimSuffix(file, ".hcl")
		is, err := r.client.Sys().GetPolicyWithContext(ctx, name)
		if err != nil {
			return fmt.Errorf("couldn't read policy %s: %w", name, err)
		}
		if is == string(text) {
			continue
		}
		do, why := Make, ""
		if is != "" {
			do, why = Change, "its text differs"
		}
		r.note(do, "sys/policies/acl/"+name, why)
		if r.Check {
			continue
		}
		if err := r.client.Sys().PutPolicyWithContext(ctx, name, string(text)); err != nil {
			return fmt.Errorf("couldn't write policy %s: %w", name, err)
		}
	}
	return nil
}

// mounts makes engines, auth methods and audit devices.
func (r *run) mounts(ctx context.Context) error {
	var wanted map[string]map[string]any
	if err := r.read("mounts.json", &wanted); err != nil {
		return err
	}
	for _, at := range slices.Sorted(maps.Keys(wanted)) {
		kind, name := path.Split(at)
		there, err := r.get(ctx, strings.TrimSuffix(kind, "/"))
		if err != nil {
			return err
		}
		body, missing := r.fill(wanted[at], "").(map[string]any), r.missing(wanted[at])
		switch is, ok := there[name+"/"].(map[string]any); {
		case ok && missing != "": // made with a value that is not at hand
		case ok:
			if why := differences(body, merge(is)); why != "" {
				return fmt.Errorf("couldn't change %s: %w: %s", at, ErrFixed, why)
			}
		case missing != "":
			r.note(Skip, at, "there is no value for "+missing)
		default:
			r.note(Make, at, "")
			if r.Check {
				r.absent = append(r.absent, strings.TrimPrefix(strings.TrimPrefix(at, "sys/mounts/"), "sys/")+"/")
				continue
			}
			if err := r.put(ctx, at, body); err != nil {
				return err
			}
		}
	}
	return nil
}

// authorities makes the root, and the CA that the services' certificates are signed by, unless pki_int has
// one already, as when its root is kept offline. They begin in the past, as what they sign does: clocks
// differ.
func (r *run) authorities(ctx context.Context) error {
	if r.isAbsent("pki_int/") {
		if r.isAbsent("pki/") {
			r.note(Make, "pki/root", "")
		}
		r.note(Make, "pki_int/intermediate", "")
		return nil
	}
	if _, err := r.issuers(ctx, "pki_int"); !errors.Is(err, errNone) {
		return err
	}
	_, err := r.issuers(ctx, "pki")
	if err != nil && !errors.Is(err, errNone) {
		return err
	}
	if rootless := err != nil; rootless {
		r.note(Make, "pki/root", "")
		if !r.Check {
			if err := r.put(ctx, "pki/root/generate/internal", map[string]any{"common_name": "PopVote root", "key_type": "ec", "ttl": "87600h", "not_before_duration": "2h"}); err != nil {
				return err
			}
		}
	}
	r.note(Make, "pki_int/intermediate", "")
	if r.Check {
		return nil
	}
	request, err := r.ask(ctx, "pki_int/intermediate/generate/internal", map[string]any{"common_name": "PopVote services", "key_type": "ec"})
	if err != nil {
		return err
	}
	signed, err := r.ask(ctx, "pki/root/sign-intermediate", map[string]any{"csr": request["csr"], "common_name": "PopVote services", "ttl": "43800h", "max_path_length": 0, "not_before_duration": "1h"})
	if err != nil {
		return err
	}
	chain := fmt.Sprint(signed["certificate"]) + "\n" + fmt.Sprint(signed["issuing_ca"])
	return r.put(ctx, "pki_int/intermediate/set-signed", map[string]any{"certificate": chain})
}

var errNone = errors.New("there are none")

func (r *run) issuers(ctx context.Context, mount string) (any, error) {
	list, err := r.client.Logical().ListWithContext(ctx, mount+"/issuers")
	if err != nil {
		return nil, fmt.Errorf("couldn't list the CAs of %s: %w", mount, err)
	}
	if list == nil {
		return nil, errNone
	}
	return list.Data["keys"], nil
}

func (r *run) settings(ctx context.Context) error {
	files, err := fs.Glob(r.Files, "settings/*.json")
	if err != nil {
		return err
	}
	for _, file := range files {
		var all []setting
		if err := r.read(file, &all); err != nil {
			return err
		}
		for _, s := range all {
			if s.Each == nil {
				s.Each = []string{""}
			}
			for _, one := range s.Each {
				if err := r.setting(ctx, s, one); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (r *run) setting(ctx context.Context, s setting, one string) error {
	at := strings.ReplaceAll(s.Path, "{}", one)
	if missing := r.missing(s.Data); missing != "" {
		r.note(Skip, at, "there is no value for "+missing)
		return nil
	}
	if r.isAbsent(at) {
		r.note(Make, at, "")
		return nil
	}
	from := at
	if s.Read != "" {
		from = s.Read
	}
	is, err := r.get(ctx, from)
	if err != nil {
		return err
	}
	data := r.fill(s.Data, one).(map[string]any)
	compared := maps.Clone(data)
	for _, secret := range s.Secret {
		delete(compared, secret)
	}
	do, why := Make, ""
	if is != nil {
		do, why = Change, differences(compared, merge(is))
		if why == "" {
			return nil
		}
		if s.Once {
			return fmt.Errorf("couldn't change %s: %w: %s", at, ErrFixed, why)
		}
	}
	r.note(do, at, why)
	if r.Check {
		return nil
	}
	return r.put(ctx, at, data)
}

func (r *run) isAbsent(at string) bool {
	return slices.ContainsFunc(r.absent, func(mount string) bool { return strings.HasPrefix(at, mount) })
}

// get reads a path; nil if there is nothing.
func (r *run) get(ctx context.Context, at string) (map[string]any, error) {
	var secret *api.Secret
	err := patiently(ctx, func() (err error) {
		secret, err = r.client.Logical().ReadWithContext(ctx, at)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't read %s: %w", at, err)
	}
	if secret == nil {
		return nil, nil
	}
	return secret.Data, nil
}

func (r *run) put(ctx context.Context, at string, body map[string]any) error {
	_, err := r.ask(ctx, at, body)
	return err
}

func (r *run) ask(ctx context.Context, at string, body map[string]any) (map[string]any, error) {
	var secret *api.Secret
	err := patiently(ctx, func() (err error) {
		secret, err = r.client.Logical().WriteWithContext(ctx, at, body)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't write %s: %w", at, err)
	}
	if secret == nil {
		return nil, nil
	}
	return secret.Data, nil
}

// patiently tries again while a new engine of secrets is not ready: it says so, and that for a moment.
func patiently(ctx context.Context, do func() error) error {
	for tries := 0; ; tries++ {
		err := do()
		if err == nil || tries == 100 || !strings.Contains(err.Error(), "Upgrading from non-versioned to versioned data") {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (r *run) read(file string, into any) error {
	text, err := fs.ReadFile(r.Files, file)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return fmt.Errorf("couldn't read %s: %w", file, err)
	}
	return nil
}

// placeholder is ${name}, or ${name:} for a value that may be missing.
var placeholder = regexp.MustCompile(`\$\{([a-z_]+)(:?)\}`)

// missing names a value that data needs and nobody gave; empty if there is none.
func (r *run) missing(data any) string {
	text, _ := json.Marshal(data) // it was JSON
	for _, m := range placeholder.FindAllStringSubmatch(string(text), -1) {
		if _, ok := r.Values[m[1]]; !ok && m[2] == "" {
			return m[1]
		}
	}
	return ""
}

// fill puts values in the place of ${name}, and one in that of {}.
func (r *run) fill(data any, one string) any {
	switch d := data.(type) {
	case string:
		d = strings.ReplaceAll(d, "{}", one)
		return placeholder.ReplaceAllStringFunc(d, func(p string) string { return r.Values[strings.Trim(p, "${}:")] })
	case []any:
		out := make([]any, len(d))
		for i := range d {
			out[i] = r.fill(d[i], one)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(d))
		for k, v := range d {
			out[strings.ReplaceAll(k, "{}", one)] = r.fill(v, one)
		}
		return out
	}
	return data
}

package keyring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/popvote/popvote/libs/vault"
)

// VaultSecrets are the secrets in Vault's KV engine (version 2), and a copy of those that were asked for in
// this process's memory. Each is made by whoever may and comes first: Vault takes only the first. While
// Vault is sealed or gone, what is in memory goes on. Safe for concurrent use.
type VaultSecrets struct {
	client *vault.Client
	clock  func() time.Time
	log    *slog.Logger
	every  time.Duration // pollEvery but in tests

	flights singleflight.Group

	mu   sync.RWMutex           // guards what follows
	held map[string]*heldSecret // by nameOf; wiped when destroyed
	gone map[string]bool        // destroyed, by nameOf
	// failed is why a secret could not be had, and when: not everybody who wants it asks anew.
	failed map[string]failure
	err    error // of the last look at what is held
}

type heldSecret struct {
	secret [32]byte
	path   string
}

type failure struct {
	at  time.Time
	err error
}

// askAgain is how long a failure is passed on to whoever asks, too.
const askAgain = time.Second

// secretPaths is where each purpose's secret is, below secret/data/popvote/; {} is the scope. Policies
// are written for these.
var secretPaths = map[Purpose]string{
	VoterTags:    "polls/{}/voter-tags",
	PhoneTags:    "polls/{}/phone-tags",
	Verification: "verification",
	Codes:        "codes",
	Challenges:   "challenges",
	Documents:    "signing/documents",
	Checkpoints:  "signing/checkpoints",
	Requests:     "signing/requests",
}

var scopeForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

var (
	_ Secrets   = (*VaultSecrets)(nil)
	_ Destroyer = (*VaultSecrets)(nil)
)

// OpenVaultSecrets gives secrets. Run keeps track of those that are destroyed.
func OpenVaultSecrets(d VaultDeps) *VaultSecrets {
	return &VaultSecrets{
		client: d.Client, clock: d.Clock, log: d.Log, every: pollEvery,
		held: map[string]*heldSecret{}, gone: map[string]bool{}, failed: map[string]failure{},
	}
}

// pathOf is a secret's path below secret/data/popvote/.
func pathOf(purpose Purpose, scope string) (string, error) {
	path, known := secretPaths[purpose]
	scoped := strings.Contains(path, "{}")
	if !known || scoped != (scope != "") || (scoped && !scopeForm.MatchString(scope)) {
		return "", fmt.Errorf("couldn't find a place in Vault for secret %q", nameOf(purpose, scope))
	}
	return strings.ReplaceAll(path, "{}", scope), nil
}

// Secret implements Secrets. Only the first time it asks Vault.
func (v *VaultSecrets) Secret(ctx context.Context, purpose Purpose, scope string) ([32]byte, error) {
	name := nameOf(purpose, scope)
	if s, known, err := v.known(name); known {
		return s, err
	}
	path, err := pathOf(purpose, scope)
	if err != nil {
		return [32]byte{}, err
	}
	// All who want it wait for one, whose own end is not theirs.
	done := v.flights.DoChan(name, func() (any, error) {
		if _, known, err := v.known(name); known {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetching)
		defer cancel()
		return nil, v.keep(name, path, v.get(ctx, purpose, scope, path))
	})
	select {
	case <-ctx.Done():
		return [32]byte{}, fmt.Errorf("couldn't get secret %s: %w", name, context.Cause(ctx))
	case r := <-done:
		if r.Err != nil {
			return [32]byte{}, r.Err
		}
	}
	s, _, err := v.known(name)
	return s, err
}

// known copies a secret that is held, or says why there is none, as far as that is known.
func (v *VaultSecrets) known(name string) (s [32]byte, known bool, err error) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if h, ok := v.held[name]; ok {
		return h.secret, true, nil
	}
	if v.gone[name] {
		return s, true, fmt.Errorf("couldn't get secret %s: %w", name, ErrDestroyed)
	}
	if f, ok := v.failed[name]; ok {
		if since := v.clock().Sub(f.at); since >= 0 && since < askAgain {
			return s, true, f.err
		}
	}
	return s, false, nil
}

// found is what asking for a secret has given.
type found struct {
	secret []byte
	err    error
}

// keep notes what was found.
func (v *VaultSecrets) keep(name, path string, f found) error {
	defer clear(f.secret)
	if f.err == nil && len(f.secret) != 32 {
		f.err = fmt.Errorf("it has %d bytes, want 32", len(f.secret))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.failed, name)
	if f.err == nil {
		v.held[name] = &heldSecret{secret: [32]byte(f.secret), path: path}
		return nil
	}
	err := fmt.Errorf("couldn't get secret %s: %w", name, f.err)
	if errors.Is(err, ErrDestroyed) {
		v.gone[name] = true
	} else {
		v.failed[name] = failure{v.clock(), err}
	}
	return err
}

// document is one version of a secret in the KV engine.
type document struct {
	Data struct {
		Data struct {
			Key         []byte `json:"key,omitempty"`
			Fingerprint []byte `json:"fingerprint,omitempty"`
		} `json:"data"`
		Metadata struct {
			Version int `json:"version"`
		} `json:"metadata"`
	} `json:"data"`
}

// get reads a secret, or makes it.
func (v *VaultSecrets) get(ctx context.Context, purpose Purpose, scope, path string) found {
	key, err := v.read(ctx, path)
	if errors.Is(err, vault.ErrNotFound) {
		made := newSecret(purpose)
		err = v.create(ctx, path, map[string][]byte{"key": made})
		clear(made)
		if err != nil && !errors.Is(err, errTaken) {
			return found{err: err}
		}
		// What counts is what Vault has: another may have been first.
		key, err = v.read(ctx, path)
	}
	if err != nil {
		return found{err: err}
	}
	if scope != "" && len(key) == 32 {
		if err := v.commit(ctx, purpose, scope, path, [32]byte(key)); err != nil {
			clear(key)
			return found{err: err}
		}
	}
	return found{secret: key}
}

// read returns a secret as it is in Vault: vault.ErrNotFound if it never was, ErrDestroyed if it is no more.
func (v *VaultSecrets) read(ctx context.Context, path string) ([]byte, error) {
	var d document
	err := v.client.Read(ctx, "secret/data/popvote/"+path, &d)
	if errors.Is(err, vault.ErrNotFound) && d.Data.Metadata.Version > 0 {
		return nil, ErrDestroyed
	}
	if err != nil {
		return nil, err
	}
	return d.Data.Data.Key, nil
}

// errTaken is what was to be made and is there.
var errTaken = errors.New("another has made it")

// create writes the first version of a document.
func (v *VaultSecrets) create(ctx context.Context, path string, data map[string][]byte) error {
	err := v.client.Write(ctx, "secret/data/popvote/"+path, map[string]any{"data": data, "options": map[string]int{"cas": 0}}, nil)
	// A policy that lets make and not change says so in another way than the engine.
	if err != nil && (strings.Contains(err.Error(), "check-and-set") || errors.Is(err, vault.ErrDenied)) {
		return fmt.Errorf("%w: %w", errTaken, err)
	}
	return err
}

// commit leaves a scoped secret's fingerprint beside it, for whoever destroys it without having been able to
// read it. It is there before the secret is used.
func (v *VaultSecrets) commit(ctx context.Context, purpose Purpose, scope, path string, secret [32]byte) error {
	want := Fingerprint(purpose, scope, secret)
	for range 2 {
		got, err := v.fingerprint(ctx, path)
		if err == nil && string(got) != string(want) {
			return errors.New("its fingerprint in Vault is another's")
		}
		if !errors.Is(err, vault.ErrNotFound) {
			return err
		}
		if err := v.create(ctx, "fingerprints/"+path, map[string][]byte{"fingerprint": want}); err != nil && !errors.Is(err, errTaken) {
			return err
		}
	}
	return errors.New("its fingerprint can't be kept in Vault")
}

func (v *VaultSecrets) fingerprint(ctx context.Context, path string) ([]byte, error) {
	var d document
	if err := v.client.Read(ctx, "secret/data/popvote/fingerprints/"+path, &d); err != nil {
		return nil, err
	}
	return d.Data.Data.Fingerprint, nil
}

// Err says why the last look at what is held failed; nil while all is well.
func (v *VaultSecrets) Err() error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.err
}

// Run looks every half minute whether a poll's secrets have been destroyed, until the context ends, and
// wipes those from memory. What can't be asked for stays.
func (v *VaultSecrets) Run(ctx context.Context) {
	tick := time.NewTimer(vault.Jittered(v.every))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			tick.Reset(vault.Jittered(v.every))
			v.look(ctx)
		}
	}
}

func (v *VaultSecrets) look(ctx context.Context) {
	v.mu.RLock()
	paths := map[string]string{}
	for name, h := range v.held {
		if strings.HasPrefix(h.path, "polls/") {
			paths[name] = h.path
		}
	}
	v.mu.RUnlock()
	var errs []error
	for name, path := range paths {
		key, err := v.read(ctx, path)
		clear(key)
		if errors.Is(err, ErrDestroyed) {
			v.forget(name)
			v.log.LogAttrs(ctx, slog.LevelInfo, "a secret was destroyed, and is forgotten", slog.String("secret", name))
		} else if err != nil {
			errs = append(errs, fmt.Errorf("couldn't look at secret %s: %w", name, err))
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.err = errors.Join(errs...)
}

// forget wipes a secret.
func (v *VaultSecrets) forget(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if h, ok := v.held[name]; ok {
		clear(h.secret[:])
		delete(v.held, name)
	}
	v.gone[name] = true
}

// Destroy implements Destroyer, for secrets with a scope. It takes no right to read the secret: whoever made
// it has left its fingerprint. From the first of its steps on Vault gives the secret to nobody; other
// processes forget it when they next look (Run).
func (v *VaultSecrets) Destroy(ctx context.Context, purpose Purpose, scope string) (Tombstone, error) {
	name := nameOf(purpose, scope)
	path, err := pathOf(purpose, scope)
	if err != nil {
		return Tombstone{}, err
	}
	if scope == "" {
		return Tombstone{}, fmt.Errorf("couldn't destroy secret %s: it is not one poll's", name)
	}
	stone, err := v.destroy(ctx, path)
	if errors.Is(err, vault.ErrNotFound) {
		err = ErrNoSecret
	}
	if err != nil {
		return Tombstone{}, fmt.Errorf("couldn't destroy secret %s: %w", name, err)
	}
	v.forget(name)
	return stone, nil
}

func (v *VaultSecrets) destroy(ctx context.Context, path string) (Tombstone, error) {
	deleted, destroyed, err := v.ends(ctx, path)
	if err != nil {
		return Tombstone{}, err
	}
	stone := Tombstone{}
	if stone.Fingerprint, err = v.fingerprint(ctx, path); err != nil || len(stone.Fingerprint) != 32 {
		return stone, fmt.Errorf("there is no fingerprint of it, without which its end can't be certified: %v", err) //nolint:errorlint // not found here is not that there is no secret
	}
	first := map[string]any{"versions": []int{1}}
	if deleted.IsZero() {
		if err := v.client.Write(ctx, "secret/delete/popvote/"+path, first, nil); err != nil {
			return stone, err
		}
	}
	if !destroyed {
		if err := v.client.Write(ctx, "secret/destroy/popvote/"+path, first, nil); err != nil {
			return stone, err
		}
	}
	stone.At, destroyed, err = v.ends(ctx, path)
	if err == nil && (!destroyed || stone.At.IsZero()) {
		err = errors.New("vault has not destroyed it")
	}
	return stone, err
}

// ends says when the only version of a secret was deleted, if it was, and whether it is destroyed.
func (v *VaultSecrets) ends(ctx context.Context, path string) (deleted time.Time, destroyed bool, err error) {
	var m struct {
		Data struct {
			Versions map[string]struct {
				Deleted   string `json:"deletion_time"`
				Destroyed bool   `json:"destroyed"`
			} `json:"versions"`
		} `json:"data"`
	}
	if err := v.client.Read(ctx, "secret/metadata/popvote/"+path, &m); err != nil {
		return deleted, false, err
	}
	first, ok := m.Data.Versions["1"]
	if !ok || len(m.Data.Versions) != 1 {
		return deleted, false, fmt.Errorf("it has %d versions in Vault, want one", len(m.Data.Versions))
	}
	if first.Deleted != "" {
		if deleted, err = time.Parse(time.RFC3339Nano, first.Deleted); err != nil {
			return deleted, false, fmt.Errorf("couldn't read when it was deleted: %w", err)
		}
	}
	return deleted.UTC().Truncate(time.Millisecond), first.Destroyed, nil
}

package keyring

import (
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/libs/vault"
)

const (
	// pollEvery is how often the ring is fetched, about: four times before a version seals.
	pollEvery = 30 * time.Second
	// missEvery is how often it is fetched for a version that it lacks, at most: anybody can forge one.
	missEvery = 5 * time.Second
	// old is the age from which on a ring that can't be fetched is an alarm.
	old = 10 * time.Minute
	// DefaultMaxAge is how old the ring may be and still seal: VaultDeps.MaxAge says why.
	DefaultMaxAge = 24 * time.Hour
	// fetching is how long one fetch may take.
	fetching = 10 * time.Second
)

// VaultTokens is the ring of token keys that Vault's transit engine makes and rotates, held in this
// process's memory: Sealing and Opening never ask anybody. While Vault is sealed or gone the ring stays as
// it was, and seals for MaxAge, and opens for ever. Safe for concurrent use.
//
// Keys are wiped once they are expanded; what the runtime has left of them in memory that is free by now,
// and the expanded keys of a version that is retired, are beyond our reach.
type VaultTokens struct {
	client *vault.Client
	clock  func() time.Time
	log    *slog.Logger
	key    string
	every  time.Duration // pollEvery but in tests
	ripe   time.Duration // settle but in tests
	max    time.Duration // VaultDeps.MaxAge

	ring  atomic.Pointer[[]version] // oldest first
	miss  chan struct{}             // holds one wish for a version that the ring lacks
	fresh atomic.Int64              // when the ring was last fetched, nanoseconds since 1970
	state atomic.Pointer[fetchState]

	fetches *prometheus.CounterVec
}

// fetchState is how the last fetch went.
type fetchState struct{ err error }

var _ Tokens = (*VaultTokens)(nil)

// VaultDeps are what rings of Vault work with.
type VaultDeps struct {
	Client *vault.Client
	Clock  func() time.Time
	Log    *slog.Logger
	// Metrics gets keyring_age_seconds and keyring_fetches_total.
	Metrics prometheus.Registerer
	// MaxAge is how old the ring of token keys may be and still seal; 0 is DefaultMaxAge, a day.
	//
	// A sealed Vault stops nobody from voting, so the limit is generous; but there is one. The keys rotate daily, so
	// that none seals more than GCM's random nonces are good for and a known one soon seals nothing: who can't see
	// a rotation goes on with a key that may be retired by now, and its tokens open nowhere else. Whoever could cut
	// a server off from Vault could keep it on a stolen key for ever. A day costs nobody anything: certificates end
	// then as well, so that services cut off for longer don't reach each other.
	MaxAge time.Duration
}

// TokenKey is the name of the token key at transit/.
const TokenKey = "popvote-token"

// OpenVaultTokens fetches the ring of a transit key. Run keeps it fresh.
func OpenVaultTokens(ctx context.Context, key string, d VaultDeps) (*VaultTokens, error) {
	v := &VaultTokens{client: d.Client, clock: d.Clock, log: d.Log, key: key, every: pollEvery, ripe: settle, max: cmp.Or(d.MaxAge, DefaultMaxAge), miss: make(chan struct{}, 1)}
	v.fetches = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "keyring_fetches_total", Help: "Fetches of the token keys from Vault, by how they went.",
	}, []string{"result"})
	age := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "keyring_age_seconds", Help: "How long ago the token keys were last fetched from Vault. More than a minute means that Vault can't be asked.",
	}, func() float64 { return v.Age().Seconds() })
	if err := v.fetch(ctx); err != nil {
		return nil, err
	}
	for _, c := range []prometheus.Collector{v.fetches, age} {
		if err := d.Metrics.Register(c); err != nil {
			return nil, fmt.Errorf("couldn't register the ring's metrics: %w", err)
		}
	}
	return v, nil
}

// Age is how long ago the ring was fetched.
func (v *VaultTokens) Age() time.Duration { return v.clock().Sub(time.Unix(0, v.fresh.Load())) }

// Err says why the ring could not be fetched the last time; nil while all is well.
func (v *VaultTokens) Err() error {
	if err := v.state.Load().err; err != nil {
		return fmt.Errorf("the token keys are %v old: %w", v.Age().Round(time.Second), err)
	}
	return nil
}

// Sealing implements Tokens.
func (v *VaultTokens) Sealing() (int, cipher.AEAD, error) {
	now, ring := v.clock(), *v.ring.Load()
	if now.UnixNano()-v.fresh.Load() >= int64(v.max) {
		return 0, nil, ErrTooOld
	}
	for _, k := range slices.Backward(ring) {
		if now.Sub(k.created) >= v.ripe {
			return k.number, k.aead, nil
		}
	}
	return ring[0].number, ring[0].aead, nil
}

// Opening implements Tokens. A version that the ring lacks makes Run fetch it again, soon; whoever asked
// does not wait for that.
func (v *VaultTokens) Opening(number int) (cipher.AEAD, error) {
	for _, k := range slices.Backward(*v.ring.Load()) {
		if k.number == number {
			return k.aead, nil
		}
	}
	select {
	case v.miss <- struct{}{}:
	default:
	}
	return nil, ErrUnknownVersion
}

// Run fetches the ring every half minute, and for a version that it lacks at most every five seconds: only
// whoever can read Vault knows which versions there are, but anybody can ask for one. It ends with the
// context.
func (v *VaultTokens) Run(ctx context.Context) {
	tick := time.NewTimer(vault.Jittered(v.every))
	defer tick.Stop()
	misses := v.miss
	var rested <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-rested:
			misses, rested = v.miss, nil
			continue
		case <-tick.C:
			tick.Reset(vault.Jittered(v.every))
		case <-misses:
		}
		v.refresh(ctx)
		misses, rested = nil, time.After(missEvery)
		select {
		case <-v.miss: // it came before the answer did
		default:
		}
	}
}

// refresh fetches the ring, and says so if that fails or works again.
func (v *VaultTokens) refresh(ctx context.Context) {
	before := v.state.Load().err
	err := v.fetch(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil && v.Age() >= v.max:
		v.log.LogAttrs(ctx, slog.LevelError, "the token keys are too old: no session begins here", slog.Duration("age", v.Age()), slog.Any("error", err))
	case err != nil && v.Age() >= old:
		v.log.LogAttrs(ctx, slog.LevelError, "the token keys are old: no new version would open here", slog.Duration("age", v.Age()), slog.Any("error", err))
	case err != nil && before == nil:
		v.log.LogAttrs(ctx, slog.LevelWarn, "couldn't fetch the token keys; those in memory stay in use", slog.Any("error", err))
	case err == nil && before != nil:
		v.log.LogAttrs(ctx, slog.LevelInfo, "the token keys are fetched again")
	}
}

// fetch replaces the ring, or leaves it as it is.
func (v *VaultTokens) fetch(ctx context.Context) error {
	began := v.clock()
	ring, err := v.read(ctx)
	if err != nil {
		v.fetches.WithLabelValues("failed").Inc()
		v.state.Store(&fetchState{err})
		return err
	}
	v.ring.Store(&ring)
	v.fresh.Store(began.UnixNano())
	v.fetches.WithLabelValues("fetched").Inc()
	v.state.Store(&fetchState{})
	return nil
}

// read asks for the keys, and then for their ages: a version that is made in between has one then, and no key.
func (v *VaultTokens) read(ctx context.Context) ([]version, error) {
	ctx, cancel := context.WithTimeout(ctx, fetching)
	defer cancel()
	var exported struct {
		Data struct {
			Keys map[string][]byte `json:"keys"`
		} `json:"data"`
	}
	defer func() {
		for _, key := range exported.Data.Keys {
			clear(key)
		}
	}()
	if err := v.client.Read(ctx, "transit/export/encryption-key/"+v.key, &exported); err != nil {
		return nil, fmt.Errorf("couldn't fetch the token keys: %w", err)
	}
	var ages struct {
		Data struct {
			Type string           `json:"type"`
			Keys map[string]int64 `json:"keys"`
		} `json:"data"`
	}
	if err := v.client.Read(ctx, "transit/keys/"+v.key, &ages); err != nil {
		return nil, fmt.Errorf("couldn't fetch the ages of the token keys: %w", err)
	}
	if ages.Data.Type != "aes256-gcm96" {
		return nil, fmt.Errorf("couldn't use the token keys: they are for %s, not aes256-gcm96", ages.Data.Type)
	}
	ring := make([]version, 0, len(exported.Data.Keys))
	for name, key := range exported.Data.Keys {
		number, err := strconv.Atoi(name)
		made, known := ages.Data.Keys[name]
		if err != nil || number < 1 || len(key) != 32 || !known {
			return nil, fmt.Errorf("couldn't use the token keys: version %q has no age, or is none", name)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		ring = append(ring, version{number: number, created: time.Unix(made, 0), aead: aead})
	}
	if len(ring) == 0 {
		return nil, errors.New("couldn't use the token keys: there is no version")
	}
	slices.SortFunc(ring, func(a, b version) int { return a.number - b.number })
	return ring, nil
}

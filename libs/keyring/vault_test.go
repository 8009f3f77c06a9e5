package keyring_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/token"
	"github.com/popvote/popvote/libs/vault"
	"github.com/popvote/popvote/libs/vault/setup"
	"github.com/popvote/popvote/libs/vaulttest"
)

// cluster is a real Vault, set up as the repository says, whose workloads Nomad vouches for.
type cluster struct {
	*vaulttest.Server
	workloads *vaulttest.Workloads
}

func startVault(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{vaulttest.Start(t), vaulttest.NewWorkloads(t)}
	_, err := setup.Apply(t.Context(), c.Client(), setup.Config{
		Files: os.DirFS("../../vault-policies"), Values: map[string]string{"jwks_url": c.workloads.URL},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// login logs in as a program.
func (c *cluster) login(t *testing.T, program, address string) *vault.Client {
	t.Helper()
	client, err := vault.Open(t.Context(), vault.Settings{Address: address, JWT: c.workloads.File("popvote", program)}, program, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	go client.Run(t.Context())
	return client
}

func (c *cluster) write(t *testing.T, path string, body map[string]any) map[string]any {
	t.Helper()
	s, err := c.Client().Logical().WriteWithContext(t.Context(), path, body)
	if err != nil {
		t.Fatal(err)
	}
	if s == nil {
		return nil
	}
	return s.Data
}

// ahead is the wall clock, which Vault sees too, and a time that has passed beyond it.
type ahead struct{ by atomic.Int64 }

func (a *ahead) Now() time.Time       { return time.Now().Add(time.Duration(a.by.Load())) }
func (a *ahead) pass(d time.Duration) { a.by.Add(int64(d)) }

// ring is one process's.
func (c *cluster) ring(t *testing.T, a *ahead, address string) (*keyring.VaultTokens, *prometheus.Registry) {
	t.Helper()
	metrics := prometheus.NewRegistry()
	ring, err := keyring.OpenVaultTokens(t.Context(), keyring.TokenKey, keyring.VaultDeps{
		Client: c.login(t, "api-server", address), Clock: a.Now, Log: slog.New(slog.DiscardHandler), Metrics: metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	return ring, metrics
}

// metric is a metric's value, over all its labels that hold what.
func metric(t *testing.T, r *prometheus.Registry, name, what string) (sum float64) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && strings.Contains(m.String(), what) {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 3000 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited in vain until %s", what)
}

// counting stands before a Vault and counts how often the keys are asked for, and everything.
func counting(t *testing.T, address string) (at string, keys, all *atomic.Int64) {
	t.Helper()
	to, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	keys, all = new(atomic.Int64), new(atomic.Int64)
	proxy := httputil.NewSingleHostReverseProxy(to)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		all.Add(1)
		if strings.HasPrefix(r.URL.Path, "/v1/transit/export") {
			keys.Add(1)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, keys, all
}

var aSession = token.Session{ID: "q83vEjRWeJCrze8SNFZ4kA", Poll: "lunch", Step: token.Verified, Expires: time.Now().Add(100 * time.Hour)}

// TestVaultOpensOurTokensAndWeOpenVaults: they have one form, down to what is authenticated.
func TestVaultOpensOurTokensAndWeOpenVaults(t *testing.T) {
	c := startVault(t)
	ring, _ := c.ring(t, new(ahead), c.Address())
	codec := token.NewCodec(ring)
	ours, err := codec.Seal(aSession)
	if err != nil {
		t.Fatal(err)
	}
	poll, text, _ := strings.Cut(ours, ".")
	associated := base64.StdEncoding.EncodeToString([]byte("popvote access token\x00v1\x00" + poll))
	opened := c.write(t, "transit/decrypt/popvote-token", map[string]any{"ciphertext": text, "associated_data": associated})
	sealed := c.write(t, "transit/encrypt/popvote-token", map[string]any{"plaintext": opened["plaintext"], "associated_data": associated})
	theirs := fmt.Sprint(sealed["ciphertext"])
	if theirs == text {
		t.Fatal("they are the same")
	}
	if s, err := codec.Open(poll+"."+theirs, time.Now()); err != nil || s.ID != aSession.ID || s.Poll != aSession.Poll {
		t.Errorf("Vault's token opens as %s, %v", s.ID, err)
	}
	if _, err := codec.Open("dinner."+theirs, time.Now()); err == nil {
		t.Error("it opens for another poll")
	}
}

// TestRotationLogsNobodyOut: two processes seal and open each other's tokens while the key rotates. What
// was sealed first opens to the end.
func TestRotationLogsNobodyOut(t *testing.T) {
	c := startVault(t)
	one, _ := c.ring(t, new(ahead), c.Address())
	other, _ := c.ring(t, new(ahead), c.Address())
	rings := []*keyring.VaultTokens{one, other}
	for _, r := range rings {
		r.Every(20 * time.Millisecond)
		r.Ripe(3 * time.Second) // in the place of two minutes; Vault tells whole seconds
		go r.Run(t.Context())
	}
	first, err := token.NewCodec(one).Seal(aSession)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	var voters sync.WaitGroup
	var opened atomic.Int64
	for i := range 4 {
		voters.Go(func() {
			seals, opens := token.NewCodec(rings[i%2]), token.NewCodec(rings[(i+1)%2])
			for {
				select {
				case <-over:
					return
				default:
				}
				text, err := seals.Seal(aSession)
				if err == nil {
					_, err = opens.Open(text, time.Now())
				}
				if err == nil {
					_, err = opens.Open(first, time.Now())
				}
				if err != nil {
					t.Errorf("somebody is logged out: %v", err)
					return
				}
				opened.Add(1)
				time.Sleep(time.Millisecond)
			}
		})
	}
	for version := 2; version <= 4; version++ {
		c.write(t, "transit/keys/popvote-token/rotate", nil)
		for i, r := range rings {
			await(t, fmt.Sprintf("ring %d has version %d", i, version), func() bool { _, err := r.Opening(version); return err == nil })
			if now, _, _ := r.Sealing(); now != version-1 {
				t.Errorf("version %d seals, and %d is just made", now, version)
			}
		}
		for _, r := range rings {
			await(t, "the new version seals", func() bool { now, _, _ := r.Sealing(); return now == version })
		}
		before := opened.Load()
		await(t, "tokens of the new version are in use", func() bool { return opened.Load() > before+20 })
	}
	close(over)
	voters.Wait()

	// Retired by whoever rotates, a version opens no more.
	c.write(t, "transit/keys/popvote-token/config", map[string]any{"min_decryption_version": 3})
	await(t, "version 2 is retired", func() bool { _, err := one.Opening(2); return err != nil })
	if _, err := token.NewCodec(one).Open(first, time.Now()); err == nil {
		t.Error("a token of a retired version opens")
	}
}

// TestASealedVaultStopsNobody: sealing and opening go on, the ring's age grows, and once Vault is unsealed all
// is as before. Only after a day is nothing more sealed.
func TestASealedVaultStopsNobody(t *testing.T) {
	c, a := startVault(t), new(ahead)
	ring, metrics := c.ring(t, a, c.Address())
	ring.Every(50 * time.Millisecond)
	go ring.Run(t.Context())
	codec := token.NewCodec(ring)
	before, err := codec.Seal(aSession)
	if err != nil {
		t.Fatal(err)
	}

	c.Seal()
	await(t, "it is noticed", func() bool { return ring.Err() != nil })
	a.pass(15 * time.Minute)
	if age := metric(t, metrics, "keyring_age_seconds", ""); age < 15*60 {
		t.Errorf("the ring's age is %v s", age)
	}
	for range 1000 {
		text, err := codec.Seal(aSession)
		if err == nil {
			_, err = codec.Open(text, time.Now())
		}
		if err == nil {
			_, err = codec.Open(before, time.Now())
		}
		if err != nil {
			t.Fatalf("voting has stopped: %v", err)
		}
	}
	if failed := metric(t, metrics, "keyring_fetches_total", "failed"); failed == 0 {
		t.Error("no fetch has failed")
	}

	// After a day nothing more is sealed; what is sealed opens.
	a.pass(23*time.Hour + 30*time.Minute)
	if _, err := codec.Seal(aSession); err != nil {
		t.Errorf("within a day: %v", err)
	}
	a.pass(time.Hour)
	if _, err := codec.Seal(aSession); !errors.Is(err, keyring.ErrTooOld) {
		t.Errorf("after a day a session is sealed: %v", err)
	}
	if _, err := codec.SealBytes([]byte("x"), nil); !errors.Is(err, keyring.ErrTooOld) || !errors.Is(codec.Ready(), keyring.ErrTooOld) {
		t.Errorf("after a day bytes are sealed: %v", err)
	}
	if _, err := codec.Open(before, time.Now()); err != nil {
		t.Errorf("after a day nothing opens: %v", err)
	}

	c.Unseal()
	await(t, "it is fetched again", func() bool { return ring.Err() == nil && ring.Age() < time.Minute })
	if age := metric(t, metrics, "keyring_age_seconds", ""); age > 60 {
		t.Errorf("the ring's age is %v s", age)
	}
	if _, err := codec.Seal(aSession); err != nil || codec.Ready() != nil {
		t.Errorf("it doesn't seal again: %v", err)
	}
}

// TestAVersionFromTheFutureIsOneFetch: never one by whoever asks, and not one for each who asks.
func TestAVersionFromTheFutureIsOneFetch(t *testing.T) {
	c := startVault(t)
	address, asked, _ := counting(t, c.Address())
	ring, _ := c.ring(t, new(ahead), address)
	ring.Every(time.Hour)
	flood := func(version int) {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 2000 {
					ring.Opening(version)
					ring.Sealing()
				}
			})
		}
		all.Wait()
	}
	flood(99)
	if n := asked.Load(); n != 1 {
		t.Fatalf("Vault was asked %d times; it is 1 before anybody fetches", n)
	}
	c.write(t, "transit/keys/popvote-token/rotate", nil)
	go ring.Run(t.Context())
	await(t, "the wished version is there", func() bool { _, err := ring.Opening(2); return err == nil })
	flood(99)
	if n := asked.Load(); n != 2 {
		t.Errorf("Vault was asked %d times at once", n)
	}
	await(t, "it is asked once more, after a while", func() bool { return asked.Load() > 2 })
	flood(100)
	if n := asked.Load(); n != 3 {
		t.Errorf("Vault was asked %d times", n)
	}
}

// TestARevokedTokenIsAnotherLogin, not an error.
func TestARevokedTokenIsAnotherLogin(t *testing.T) {
	c, a := startVault(t), new(ahead)
	ring, metrics := c.ring(t, a, c.Address())
	ring.Every(20 * time.Millisecond)
	go ring.Run(t.Context())
	for range 3 {
		c.write(t, "sys/leases/revoke-prefix/auth/jwt-nomad/login", nil)
		now := metric(t, metrics, "keyring_fetches_total", "fetched")
		await(t, "it is fetched again", func() bool { return metric(t, metrics, "keyring_fetches_total", "fetched") > now+2 })
	}
	if failed := metric(t, metrics, "keyring_fetches_total", "failed"); failed > 0 {
		t.Errorf("%v fetches failed: %v", failed, ring.Err())
	}
}

// TestSealingAndOpeningAskNobody: not for one token of ten thousand, whoever sealed it, nor for those that don't
// open. Vault is asked when the ring is, and by nothing else.
func TestSealingAndOpeningAskNobody(t *testing.T) {
	c := startVault(t)
	address, keys, all := counting(t, c.Address())
	ring, _ := c.ring(t, new(ahead), address)
	other, _ := c.ring(t, new(ahead), c.Address())
	ours, theirs := token.NewCodec(ring), token.NewCodec(other)
	before := all.Load()
	if keys.Load() != 1 || before < 3 {
		t.Fatalf("%d requests, %d of them for the keys: the log-in and the ring don't come by here", before, keys.Load())
	}
	forged := "lunch.vault:v77:" + base64.StdEncoding.EncodeToString(make([]byte, 200))
	for range 10_000 {
		text, err := ours.Seal(aSession)
		if err == nil {
			_, err = theirs.Open(text, time.Now())
		}
		if err == nil {
			text, err = theirs.Seal(aSession)
		}
		if err == nil {
			_, err = ours.Open(text, time.Now())
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ours.Open(forged, time.Now()); !errors.Is(err, token.ErrInvalid) {
			t.Fatalf("a forged token: %v", err)
		}
	}
	if n := all.Load() - before; n != 0 {
		t.Errorf("Vault was asked %d times", n)
	}
	// It is not that nobody could ask by here: the wish for the forged version does, as soon as anybody fetches.
	go ring.Run(t.Context())
	await(t, "the ring is fetched again", func() bool { return keys.Load() == 2 })
}

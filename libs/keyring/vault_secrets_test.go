package keyring_test

import (
	"bytes"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/vault"
)

func (c *cluster) secrets(t *testing.T, program string) *keyring.VaultSecrets {
	t.Helper()
	s := keyring.OpenVaultSecrets(keyring.VaultDeps{Client: c.login(t, program, c.Address()), Clock: time.Now, Log: slog.New(slog.DiscardHandler)})
	s.Every(20 * time.Millisecond)
	go s.Run(t.Context())
	return s
}

// TestEverybodyHasTheSameSecret: the one of whoever came first, made once and for good.
func TestEverybodyHasTheSameSecret(t *testing.T) {
	c := startVault(t)
	servers := []*keyring.VaultSecrets{c.secrets(t, "api-server"), c.secrets(t, "api-server"), c.secrets(t, "api-server")}
	var mu sync.Mutex
	got := map[[32]byte]int{}
	var all sync.WaitGroup
	for _, s := range servers {
		for range 8 {
			all.Go(func() {
				secret, err := s.Secret(t.Context(), keyring.VoterTags, "lunch")
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				got[secret]++
			})
		}
	}
	all.Wait()
	if len(got) != 1 {
		t.Errorf("there are %d secrets of one name", len(got))
	}
	seen := map[[32]byte]bool{}
	for _, w := range []struct {
		program, scope string
		purpose        keyring.Purpose
	}{
		{"api-server", "lunch", keyring.VoterTags},
		{"api-server", "lunch", keyring.PhoneTags},
		{"api-server", "dinner", keyring.VoterTags},
		{"api-server", "", keyring.Verification},
		{"api-server", "", keyring.Codes},
		{"api-server", "", keyring.Challenges},
		{"ballot-server", "", keyring.Documents},
		{"ballot-server", "", keyring.Checkpoints},
		{"ballot-server", "", keyring.Requests},
	} {
		one, err := c.secrets(t, w.program).Secret(t.Context(), w.purpose, w.scope)
		if err != nil {
			t.Fatalf("%s: %v", w.purpose, err)
		}
		two, err := c.secrets(t, w.program).Secret(t.Context(), w.purpose, w.scope)
		if err != nil || one != two || seen[one] {
			t.Errorf("%s of %q: another process has another, or it serves two purposes (%v)", w.purpose, w.scope, err)
		}
		seen[one] = true
	}

	// The gateway computes the board's keys like the API server, and has nothing else.
	gateway := c.secrets(t, "sms-gateway")
	if s, err := gateway.Secret(t.Context(), keyring.Verification, ""); err != nil || !seen[s] {
		t.Errorf("the gateway has another (%v)", err)
	}
	for _, purpose := range []keyring.Purpose{keyring.Codes, keyring.Documents} {
		if _, err := gateway.Secret(t.Context(), purpose, ""); !errors.Is(err, vault.ErrDenied) {
			t.Errorf("the gateway asks for %s: %v", purpose, err)
		}
	}
	// Nobody changes one, not even who made it.
	err := c.login(t, "api-server", c.Address()).Write(t.Context(), "secret/data/popvote/polls/lunch/voter-tags",
		map[string]any{"data": map[string]string{"key": "another"}, "options": map[string]int{"cas": 1}}, nil)
	if !errors.Is(err, vault.ErrDenied) {
		t.Errorf("the API server changes a poll's key: %v", err)
	}
	for _, scope := range []string{"", "../codes", "a/b", "A"} {
		if _, err := servers[0].Secret(t.Context(), keyring.VoterTags, scope); err == nil {
			t.Errorf("scope %q has a secret", scope)
		}
	}
}

// TestADestroyedSecretIsGoneEverywhere: from Vault, from the memory of those who have it, and for those who
// ask later. Who destroys it has never seen it.
func TestADestroyedSecretIsGoneEverywhere(t *testing.T) {
	c := startVault(t)
	here, ballots := c.secrets(t, "api-server"), c.secrets(t, "ballot-server")
	lunch, err := here.Secret(t.Context(), keyring.VoterTags, "lunch")
	if err != nil {
		t.Fatal(err)
	}
	dinner, err := here.Secret(t.Context(), keyring.VoterTags, "dinner")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ballots.Secret(t.Context(), keyring.VoterTags, "lunch"); !errors.Is(err, vault.ErrDenied) {
		t.Errorf("the ballot server asks for a poll's identity key: %v", err)
	}
	if _, err := ballots.Destroy(t.Context(), keyring.VoterTags, "breakfast"); !errors.Is(err, keyring.ErrNoSecret) {
		t.Errorf("one that never was: %v", err)
	}
	if _, err := here.Destroy(t.Context(), keyring.VoterTags, "lunch"); !errors.Is(err, vault.ErrDenied) {
		t.Errorf("the API server destroys a key: %v", err)
	}

	stone, err := ballots.Destroy(t.Context(), keyring.VoterTags, "lunch")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(stone.Fingerprint, keyring.Fingerprint(keyring.VoterTags, "lunch", lunch)) || time.Since(stone.At) > time.Minute {
		t.Errorf("the tombstone is %+v", stone)
	}
	if again, err := ballots.Destroy(t.Context(), keyring.VoterTags, "lunch"); err != nil || !again.At.Equal(stone.At) || !bytes.Equal(again.Fingerprint, stone.Fingerprint) {
		t.Errorf("destroyed again: %+v, %v", again, err)
	}
	await(t, "it is forgotten", func() bool {
		_, err := here.Secret(t.Context(), keyring.VoterTags, "lunch")
		return errors.Is(err, keyring.ErrDestroyed)
	})
	if _, err := c.secrets(t, "api-server").Secret(t.Context(), keyring.VoterTags, "lunch"); !errors.Is(err, keyring.ErrDestroyed) {
		t.Errorf("a new process asks: %v", err)
	}
	if s, err := here.Secret(t.Context(), keyring.VoterTags, "dinner"); err != nil || s != dinner {
		t.Errorf("another poll's has changed: %v", err)
	}
}

// TestSecretsOutliveASealedVault: those that are in memory; a new one can't be had, and the next try gets it.
func TestSecretsOutliveASealedVault(t *testing.T) {
	c := startVault(t)
	s := c.secrets(t, "api-server")
	lunch, err := s.Secret(t.Context(), keyring.VoterTags, "lunch")
	if err != nil {
		t.Fatal(err)
	}
	c.Seal()
	if _, err := s.Secret(t.Context(), keyring.VoterTags, "dinner"); !errors.Is(err, vault.ErrSealed) {
		t.Errorf("asked of a sealed Vault: %v", err)
	}
	await(t, "it is noticed", func() bool { return s.Err() != nil })
	if got, err := s.Secret(t.Context(), keyring.VoterTags, "lunch"); err != nil || got != lunch {
		t.Errorf("what was in memory is not there: %v", err)
	}
	c.Unseal()
	await(t, "all is well again", func() bool {
		_, err := s.Secret(t.Context(), keyring.VoterTags, "dinner")
		return err == nil && s.Err() == nil
	})
}

// Package custody gives a program its keys and its certificate: from files, where those are named, and else
// from Vault.
package custody

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/service"
	"github.com/popvote/popvote/libs/vault"
)

// Config says what a program needs, and where it is.
type Config struct {
	// Program is its name: its role in Vault, and what its certificate says.
	Program string
	// Vault is used for what no file is named for; it is not asked if Address is empty.
	Vault vault.Settings
	// Keys is the key file, and TLS the directory of certificates. Empty: Vault's, or none.
	Keys, TLS string
	// Tokens is for a program that seals and opens access tokens.
	Tokens bool
	// TokensMaxAge is how old their keys from Vault may be and still seal; 0 is keyring.DefaultMaxAge.
	TokensMaxAge time.Duration
	// Secrets is for one that has secrets of other purposes.
	Secrets bool
}

// Deps are what it works with.
type Deps struct {
	Clock   func() time.Time
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Held is what a program has been given; nil what it needs not, or has no source for. It is kept current
// until the context that it was opened with ends.
type Held struct {
	Tokens       keyring.Tokens
	Secrets      keyring.Secrets
	Certificates mtls.Source
	// Vault is the program's way there; nil if all is in files.
	Vault *vault.Client

	checks []func() error
}

// Open gets everything once. Files that can't be used are service.ErrConfig.
func Open(ctx context.Context, c Config, d Deps) (*Held, error) {
	h := &Held{}
	if c.Vault.Address != "" {
		var err error
		if h.Vault, err = vault.Open(ctx, c.Vault, c.Program, d.Log); err != nil {
			return nil, err
		}
		go h.Vault.Run(ctx)
	}
	if err := h.keys(ctx, c, d); err != nil {
		return nil, err
	}
	return h, h.certificates(ctx, c, d)
}

func (h *Held) keys(ctx context.Context, c Config, d Deps) error {
	if c.Keys != "" {
		file, err := keyring.OpenFile(c.Keys, d.Clock)
		if err != nil {
			return err
		}
		go file.Follow(ctx, keyring.FollowEvery)
		h.Tokens, h.Secrets = file, file
		h.checks = append(h.checks, file.Err)
		return nil
	}
	if h.Vault == nil {
		return nil
	}
	deps := keyring.VaultDeps{Client: h.Vault, Clock: d.Clock, Log: d.Log, Metrics: d.Metrics}
	if c.Tokens {
		deps.MaxAge = c.TokensMaxAge
		ring, err := keyring.OpenVaultTokens(ctx, keyring.TokenKey, deps)
		if err != nil {
			return err
		}
		go ring.Run(ctx)
		h.Tokens = ring
		h.checks = append(h.checks, ring.Err)
	}
	if c.Secrets {
		secrets := keyring.OpenVaultSecrets(deps)
		go secrets.Run(ctx)
		h.Secrets = secrets
		h.checks = append(h.checks, secrets.Err)
	}
	return nil
}

func (h *Held) certificates(ctx context.Context, c Config, d Deps) error {
	if c.TLS != "" {
		files, err := mtls.Load(c.TLS, d.Clock)
		if err != nil {
			return fmt.Errorf("%w: -tls: %w", service.ErrConfig, err)
		}
		h.Certificates = files
		return nil
	}
	if h.Vault == nil {
		return nil
	}
	signed, err := mtls.FromVault(ctx, mtls.VaultConfig{Client: h.Vault, Service: c.Program, Clock: d.Clock, Log: d.Log})
	if err != nil {
		return err
	}
	go signed.Run(ctx)
	h.Certificates = signed
	return nil
}

// Check says why keys could not be renewed; those of before are then in use. It fits service.Health.
func (h *Held) Check(context.Context) error {
	for _, check := range h.checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

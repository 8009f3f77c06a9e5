// Package vault is a program's way to Vault: it logs in with the workload's identity, stays logged in,
// and asks. Nothing of the request path of a vote waits for it.
package vault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"
)

// What Vault answered, where that is no success.
var (
	ErrDenied   = errors.New("vault denies it")
	ErrNotFound = errors.New("vault has no such thing")
	ErrSealed   = errors.New("vault is sealed, or its storage has no leader")
)

const (
	// asking is how long one question may take.
	asking = 10 * time.Second
	// again and atMost are the pauses after a log-in that failed; each is twice the one before.
	again, atMost = time.Second, 30 * time.Second
)

// Settings say where Vault is and who asks. They are part of a program's configuration.
type Settings struct {
	Address string `koanf:"address" doc:"Vault's address, https://host:8200. Default: none; then keys and certificates are files."`
	CA      string `koanf:"ca" doc:"A file with the CA that signed Vault's own certificate. Default: the system's CAs."`
	JWT     string `koanf:"jwt" doc:"The file with this workload's identity, a JWT, as Nomad writes and renews it; read anew at each log-in."`
	Auth    string `koanf:"auth" doc:"Where the JWT is shown: the mount of Vault's JWT auth method. Default: jwt-nomad."`
	Role    string `koanf:"role" doc:"The role that is asked for with the JWT. Default: the program's name."`
	Token   string `koanf:"token-file" doc:"A file with a token, instead of a JWT, read anew at each log-in. For development. Default: the variable VAULT_TOKEN."`
}

// Client asks Vault as one program. Safe for concurrent use.
type Client struct {
	settings Settings
	log      *slog.Logger
	bare     *api.Client // without a token

	mu      sync.Mutex // held by the one that logs in
	session atomic.Pointer[Session]
}

// Session is one log-in. What was leased in it ends with its token.
type Session struct {
	client *api.Client
	token  *api.Secret
	ended  chan struct{} // closed when another has taken its place
	// denied is set, for a while, once Vault has denied something to a token that it had just given: that is
	// then the policy's doing, and another token would not help.
	denied atomic.Bool
}

// Ended is closed when the program has logged in anew.
func (s *Session) Ended() <-chan struct{} { return s.ended }

// Open logs in, for the first time. The role is the program's name unless the settings name another.
func Open(ctx context.Context, s Settings, program string, log *slog.Logger) (*Client, error) {
	if s.Auth == "" {
		s.Auth = "jwt-nomad"
	}
	if s.Role == "" {
		s.Role = program
	}
	bare, err := connect(s)
	if err != nil {
		return nil, err
	}
	c := &Client{settings: s, log: log, bare: bare}
	if _, err := c.login(ctx, nil); err != nil {
		return nil, err
	}
	return c, nil
}

func connect(s Settings) (*api.Client, error) {
	transport := &http.Transport{
		// A proxy must not see what Vault gives.
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: asking,
	}
	if s.CA != "" {
		text, err := os.ReadFile(s.CA)
		if err != nil {
			return nil, fmt.Errorf("couldn't read the CA of Vault: %w", err)
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("couldn't read the CA of Vault: %s holds no certificate", s.CA)
		}
	}
	client, err := api.NewClient(&api.Config{Address: s.Address, HttpClient: &http.Client{Transport: transport}, Timeout: asking})
	if err != nil {
		return nil, fmt.Errorf("couldn't use Vault at %s: %w", s.Address, err)
	}
	client.ClearToken() // it may be the environment's
	return client, nil
}

// Session is the present log-in.
func (c *Client) Session() *Session { return c.session.Load() }

// Run keeps the program logged in until the context ends: when the token can't be renewed any more,
// whatever the reason, it logs in again.
func (c *Client) Run(ctx context.Context) {
	pause := again
	for {
		s := c.Session()
		if !c.renew(ctx, s) {
			return
		}
		if _, err := c.login(ctx, s); err == nil {
			pause = again
			continue
		} else if ctx.Err() == nil {
			c.log.LogAttrs(ctx, slog.LevelWarn, "couldn't log in to Vault again", slog.Any("error", err))
		}
		if !sleep(ctx, Jittered(pause)) {
			return
		}
		pause = min(2*pause, atMost)
	}
}

// renew keeps a session's token alive, and returns when that has ended, with false if the context has.
func (c *Client) renew(ctx context.Context, s *Session) bool {
	var ended <-chan error
	if s.token != nil && s.token.Auth != nil && s.token.Auth.LeaseDuration > 0 {
		w, err := s.client.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: s.token})
		if err == nil {
			go w.Start()
			defer w.Stop()
			ended = w.DoneCh()
		}
	}
	select {
	case <-ctx.Done():
		return false
	case <-s.ended:
	case err := <-ended: // with or without an error, the token is at its end
		c.log.LogAttrs(ctx, slog.LevelInfo, "the token for Vault is renewed no more", slog.Any("error", err))
	}
	return ctx.Err() == nil
}

// login replaces a session, unless somebody else has already.
func (c *Client) login(ctx context.Context, old *Session) (*Session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.session.Load(); now != old {
		return now, nil
	}
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	s := &Session{ended: make(chan struct{})}
	var err error
	if s.client, err = c.bare.Clone(); err != nil {
		return nil, fmt.Errorf("couldn't log in to Vault: %w", err)
	}
	s.client.ClearToken() // the environment's
	if c.settings.JWT != "" {
		err = c.showJWT(ctx, s)
	} else {
		err = c.takeToken(ctx, s)
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't log in to Vault: %w", err)
	}
	c.session.Store(s)
	if old != nil {
		close(old.ended)
		c.log.LogAttrs(ctx, slog.LevelInfo, "logged in to Vault again")
	}
	return s, nil
}

func (c *Client) showJWT(ctx context.Context, s *Session) error {
	jwt, err := os.ReadFile(c.settings.JWT)
	if err != nil {
		return fmt.Errorf("couldn't read the workload's identity: %w", err)
	}
	s.token, err = s.client.Logical().WriteWithContext(ctx, "auth/"+c.settings.Auth+"/login",
		map[string]any{"role": c.settings.Role, "jwt": strings.TrimSpace(string(jwt))})
	if err != nil {
		return reason(err)
	}
	if s.token == nil || s.token.Auth == nil || s.token.Auth.ClientToken == "" {
		return errors.New("it gave no token")
	}
	s.client.SetToken(s.token.Auth.ClientToken)
	return nil
}

// takeToken takes a token that somebody else has got, and asks how long it lives.
func (c *Client) takeToken(ctx context.Context, s *Session) error {
	token := os.Getenv(api.EnvVaultToken)
	if c.settings.Token != "" {
		text, err := os.ReadFile(c.settings.Token)
		if err != nil {
			return fmt.Errorf("couldn't read the token: %w", err)
		}
		token = strings.TrimSpace(string(text))
	}
	if token == "" {
		return errors.New("there is neither a JWT nor a token to log in with")
	}
	s.client.SetToken(token)
	self, err := s.client.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return reason(err)
	}
	ttl, err := self.TokenTTL()
	if err != nil {
		return err
	}
	renewable, err := self.TokenIsRenewable()
	if err != nil {
		return err
	}
	// What lookup-self returns is not what a watcher takes (vault#12928).
	s.token = &api.Secret{Auth: &api.SecretAuth{ClientToken: token, LeaseDuration: int(ttl.Seconds()), Renewable: renewable}}
	return nil
}

// Read reads a path and decodes the answer, {"data": …}, into into.
func (c *Client) Read(ctx context.Context, path string, into any) error {
	return c.ask(ctx, "read "+path, into, func(ctx context.Context, client *api.Client) (*api.Response, error) {
		return client.Logical().ReadRawWithContext(ctx, path)
	})
}

// Write writes JSON to a path and decodes the answer into into, unless that is nil.
func (c *Client) Write(ctx context.Context, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("couldn't write %s in Vault: %w", path, err)
	}
	defer clear(text)
	return c.ask(ctx, "write "+path, into, func(ctx context.Context, client *api.Client) (*api.Response, error) {
		request := client.NewRequest(http.MethodPut, "/v1/"+path)
		request.BodyBytes = text
		return client.RawRequestWithContext(ctx, request) //nolint:staticcheck // Logical().WriteRaw cancels what is still to be read of the answer
	})
}

// ask asks in the present session, and once more in a new one if Vault denied it: a token that was
// revoked looks alive until then.
func (c *Client) ask(ctx context.Context, what string, into any, question func(context.Context, *api.Client) (*api.Response, error)) error {
	ctx, cancel := context.WithTimeout(ctx, asking)
	defer cancel()
	s := c.Session()
	err := answer(ctx, s, into, question)
	if errors.Is(err, ErrDenied) && !s.denied.Load() {
		next, failed := c.login(ctx, s)
		if failed != nil {
			return fmt.Errorf("couldn't %s: %w, and %w", what, err, failed)
		}
		if err = answer(ctx, next, into, question); errors.Is(err, ErrDenied) {
			next.denied.Store(true)
			time.AfterFunc(atMost, func() { next.denied.Store(false) })
		}
	}
	if err != nil {
		return fmt.Errorf("couldn't %s: %w", what, err)
	}
	return nil
}

// answer decodes what was answered, and wipes it. Errors are decoded too: they may tell more.
func answer(ctx context.Context, s *Session, into any, question func(context.Context, *api.Client) (*api.Response, error)) error {
	response, err := question(ctx, s.client)
	if response == nil || response.Body == nil {
		return reason(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, readErr := io.ReadAll(response.Body)
	defer clear(text)
	if err != nil && !errors.Is(reason(err), ErrNotFound) {
		return reason(err)
	}
	if readErr != nil {
		return readErr
	}
	if into != nil && len(text) > 0 {
		if broken := json.Unmarshal(text, into); broken != nil {
			return errors.Join(reason(err), fmt.Errorf("couldn't read the answer: %w", broken))
		}
	}
	return reason(err)
}

// reason says which of ours an error is.
func reason(err error) error {
	refused, ok := errors.AsType[*api.ResponseError](err)
	if !ok {
		return err
	}
	is := map[int]error{http.StatusForbidden: ErrDenied, http.StatusNotFound: ErrNotFound, http.StatusServiceUnavailable: ErrSealed}[refused.StatusCode]
	if is == nil {
		return err
	}
	return fmt.Errorf("%w (%s)", is, strings.TrimSpace(strings.Join(refused.Errors, "; ")))
}

// Jittered is a pause of a length about d, so that not everybody asks at once.
func Jittered(d time.Duration) time.Duration {
	return d - d/5 + rand.N(2*d/5+1) //nolint:gosec // no secret
}

// sleep waits, and says whether the context goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

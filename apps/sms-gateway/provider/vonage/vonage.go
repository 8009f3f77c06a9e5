// Package vonage sends by Vonage's Messages API, and takes what Vonage tells. It is not Vonage's older SMS API:
// that one answers 200 to everything and hides the error in the body, is asked with a password instead of a
// token of some minutes, and signs its calls over parameters instead of over the body.
package vonage

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/wire"
	"github.com/popvote/popvote/libs/sms"
)

// Config is an application at Vonage.
type Config struct {
	URL           string `koanf:"url" doc:"Where Vonage's API is. Default: https://api.nexmo.com; a region has its own."`
	Application   string `koanf:"application" doc:"The application's id, a UUID. Required."`
	KeyFile       string `koanf:"key-file" doc:"A file, of mode 0600, with the application's private key, PEM: each request carries a token that is signed with it. Required."`
	From          string `koanf:"from" doc:"The number, E.164, or the registered name that messages come from. Required."`
	APIKey        string `koanf:"api-key" doc:"The account's API key: Vonage's calls must name it. Required with signature-secret-file."`
	SignatureFile string `koanf:"signature-secret-file" doc:"A file, of mode 0600, with the account's signature secret, 32 bytes or more, with which Vonage signs its calls. Default: none; then there are no receipts and no messages of voters."`
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// leastSecret is what RFC 7518, section 3.2, wants of a key for HS256.
const leastSecret = 32

// Validate says what is missing or wrong.
func (c Config) Validate() error {
	var wrong wire.Faults
	bad := wrong.If
	if c.URL != "" {
		err := wire.CheckURL(c.URL)
		bad(err != nil, "url: %w", err)
	}
	bad(!uuid.MatchString(c.Application), "application: it is no UUID")
	bad(c.From == "", "from is missing")
	_, err := readKey(c.KeyFile)
	bad(err != nil, "key-file: %w", err)
	bad((c.APIKey == "") != (c.SignatureFile == ""), "api-key and signature-secret-file: one without the other")
	if c.SignatureFile != "" {
		_, err := readSecret(c.SignatureFile)
		bad(err != nil, "signature-secret-file: %w", err)
	}
	return errors.Join(wrong...)
}

func readSecret(path string) ([]byte, error) {
	secret, err := wire.ReadSecret(path)
	if err == nil && len(secret) < leastSecret {
		err = fmt.Errorf("%s is too short: it takes %d bytes that nobody guesses", path, leastSecret)
	}
	return []byte(secret), err
}

func readKey(path string) (*rsa.PrivateKey, error) {
	text, err := wire.ReadSecret(path)
	if err != nil {
		return nil, err
	}
	wrong := fmt.Errorf("couldn't use %s: it is no RSA key of 2048 bits or more, in PEM", path)
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, wrong
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if key, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			return nil, wrong
		}
	}
	if rsaKey, ok := key.(*rsa.PrivateKey); ok && rsaKey.N.BitLen() >= 2048 {
		return rsaKey, nil
	}
	return nil, wrong
}

// Provider is one application. Safe for concurrent use.
type Provider struct {
	config  Config
	deps    provider.Deps
	client  *wire.Client
	handler http.Handler

	mu    sync.Mutex // guards those below
	token string
	made  time.Time
}

var (
	_ provider.Provider = (*Provider)(nil)
	_ provider.Webhooks = (*Provider)(nil)
)

// New returns a provider that has asked for nothing yet.
func New(c Config, d provider.Deps) (*Provider, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("couldn't use Vonage: %w", err)
	}
	if c.URL == "" {
		c.URL = "https://api.nexmo.com"
	}
	c.URL = strings.TrimSuffix(c.URL, "/")
	p := &Provider{config: c, deps: d, client: wire.NewClient(d.HTTP, d.Clock), handler: http.NotFoundHandler()}
	if c.SignatureFile != "" {
		p.handler = wire.NewHandler(d, p.read)
	}
	return p, nil
}

// Handler implements provider.Webhooks: one URL for the application's inbound and status webhooks.
func (p *Provider) Handler() http.Handler { return p.handler }

// message is what the Messages API takes; numbers have no plus there.
type message struct {
	Type    string `json:"message_type"`
	Channel string `json:"channel"`
	To      string `json:"to"`
	From    string `json:"from"`
	Text    string `json:"text"`
	TTL     int    `json:"ttl,omitempty"`
	Ref     string `json:"client_ref,omitempty"`
}

// maxRef is the longest client_ref.
const maxRef = 100

// answer is what of its answers counts: an id, or a problem (RFC 7807), whose type ends with a code.
type answer struct {
	ID   string `json:"message_uuid"`
	Type string `json:"type"`
}

// Send implements provider.Provider.
func (p *Provider) Send(ctx context.Context, m sms.Message) (string, error) {
	got, err := p.client.Ask(ctx, m, func(ctx context.Context) (*http.Request, error) { return p.request(ctx, m) })
	if err != nil {
		return "", err
	}
	var a answer
	if json.Unmarshal(got.Body, &a) != nil {
		a = answer{}
	}
	if got.Status == http.StatusAccepted && a.Type == "" && uuid.MatchString(a.ID) {
		return a.ID, nil
	}
	code := codeOf(a.Type)
	known := codes[code]
	outcome := p.client.Outcome(got, known)
	if known == nil {
		code = "none that is known" // it may be anything
	}
	return "", fmt.Errorf("couldn't send by Vonage: %w (status %d, code %s)", outcome, got.Status, code)
}

// codeOf is what a problem's type, https://developer.vonage.com/api-errors/messages#1000, says behind the #.
func codeOf(problem string) string {
	u, err := url.Parse(problem)
	if err != nil {
		return ""
	}
	return u.Fragment
}

func (p *Provider) request(ctx context.Context, m sms.Message) (*http.Request, error) {
	token, err := p.authorization()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", sms.ErrUnavailable, err)
	}
	out := message{
		Type: "text", Channel: "sms", To: strings.TrimPrefix(m.To.Reveal(), "+"), From: strings.TrimPrefix(p.config.From, "+"), Text: m.Text,
		TTL: p.client.TTL(m, 20*time.Second, 7*24*time.Hour),
	}
	if len(m.ID) <= maxRef {
		out.Ref = m.ID
	}
	body, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("%w: couldn't write the message", sms.ErrUnavailable)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.config.URL+"/v1/messages", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: couldn't make a request of the URL", sms.ErrUnavailable)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	return r, nil
}

const (
	// tokenTime is how long a token is good, after which whoever has read it can do nothing with it.
	tokenTime = 5 * time.Minute
	// tokenUse is how long one is used: to read the key and to sign takes milliseconds.
	tokenUse = time.Minute
)

type tokenClaims struct {
	Application string           `json:"application_id"`
	IssuedAt    *jwt.NumericDate `json:"iat"`
	Expiry      *jwt.NumericDate `json:"exp"`
	ID          string           `json:"jti"`
}

// authorization is the token that a request carries.
func (p *Provider) authorization() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.deps.Clock()
	if p.token != "" && now.Sub(p.made).Abs() < tokenUse {
		return p.token, nil
	}
	key, err := readKey(p.config.KeyFile)
	if err != nil {
		return "", err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", errors.New("couldn't sign with the application's key")
	}
	token, err := jwt.Signed(signer).Claims(tokenClaims{
		Application: p.config.Application, IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(tokenTime)), ID: rand.Text(),
	}).Serialize()
	if err != nil {
		return "", errors.New("couldn't sign with the application's key")
	}
	p.token, p.made = token, now
	return token, nil
}

// callClaims are those of the token that a call of Vonage's carries
// (https://developer.vonage.com/messages/concepts/signed-webhooks).
type callClaims struct {
	IssuedAt    *jwt.NumericDate `json:"iat"`
	ID          string           `json:"jti"`
	PayloadHash string           `json:"payload_hash"`
	APIKey      string           `json:"api_key"`
	Application string           `json:"application_id"`
}

// read implements wire.Reader.
func (p *Provider) read(r *http.Request, body []byte) (wire.Call, error) {
	secret, err := readSecret(p.config.SignatureFile)
	if err != nil {
		return wire.Call{}, err
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return wire.Call{}, wire.ErrForged
	}
	id, err := p.believe(token, secret, body)
	if err != nil {
		return wire.Call{}, err
	}
	return told(id, body)
}

// believe returns the id of a call that Vonage signed for this account, over this body, not long ago.
func (p *Provider) believe(token string, secret, body []byte) (string, error) {
	c, err := claimsOf(token, secret)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(body)
	switch {
	case !wire.Equal([]byte(strings.ToLower(c.PayloadHash)), []byte(hex.EncodeToString(sum[:]))):
		return "", wire.ErrForged
	case c.APIKey != p.config.APIKey, c.Application != "" && c.Application != p.config.Application, c.ID == "":
		return "", wire.ErrForged // Vonage's, but not for us
	case c.IssuedAt == nil, !wire.Fresh(c.IssuedAt.Time(), p.deps.Clock()):
		return "", wire.ErrStale
	}
	return c.ID, nil
}

// claimsOf are the claims of a token that was signed with the secret.
func claimsOf(token string, secret []byte) (c callClaims, err error) {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.HS256})
	if err != nil || parsed.Claims(secret, &c) != nil {
		return callClaims{}, wire.ErrForged
	}
	return c, nil
}

// call is what of Vonage's calls counts: a message of a voter, or, with a status, what became of ours.
type call struct {
	ID        string    `json:"message_uuid"`
	Channel   string    `json:"channel"`
	From      string    `json:"from"`
	To        string    `json:"to"`
	Text      *string   `json:"text"`
	Timestamp time.Time `json:"timestamp"`
	Status    string    `json:"status"`
	Error     struct {
		Type string `json:"type"`
	} `json:"error"`
}

// states are what Vonage's statuses mean.
var states = map[string]provider.State{
	"submitted": provider.Accepted, "delivered": provider.Delivered, "read": provider.Delivered,
	"rejected": provider.Rejected, "undeliverable": provider.Undelivered,
}

// told reads a call that is Vonage's.
func told(id string, body []byte) (wire.Call, error) {
	var c call
	if json.Unmarshal(body, &c) != nil || !uuid.MatchString(c.ID) {
		return wire.Call{}, wire.ErrMalformed
	}
	out := wire.Call{Key: id}
	switch {
	case c.Channel != "" && c.Channel != "sms":
		// Another channel of the application's: heard, and nothing to us.
	case c.Status != "":
		state, known := states[c.Status]
		code := codeOf(c.Error.Type)
		switch {
		case !known:
			state = provider.Unknown
		case code == "1360": // its TTL was activated
			state = provider.Expired
		}
		if _, known := codes[code]; !known && code != "1360" {
			code = ""
		}
		out.Receipts = []provider.Receipt{{Ref: c.ID, To: wire.Number(c.To), State: state, Code: code, At: c.Timestamp}}
	case c.From != "" && c.Text != nil:
		out.Messages = []sms.Inbound{{
			From: wire.Number(c.From), To: wire.Number(c.To), Text: *c.Text, ReceivedAt: c.Timestamp, ProviderID: c.ID,
		}}
	default:
		return wire.Call{}, wire.ErrMalformed
	}
	return out, nil
}

// Package twilio sends by Twilio's Programmable Messaging, speaks by its Programmable Voice, and takes what Twilio
// tells: what became of messages and calls, and what voters text. Its own Go module is some hundred thousand
// generated lines for two POSTs.
package twilio

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // Twilio signs with HMAC-SHA1, whose strength is not that of SHA-1's collisions
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/wire"
	"github.com/popvote/popvote/libs/sms"
)

// Config is an account at Twilio.
type Config struct {
	URL              string            `koanf:"url" doc:"Where Twilio's API is. Default: https://api.twilio.com; a region has its own."`
	Account          string            `koanf:"account" doc:"The account's SID, AC and 32 digits. Required."`
	Key              string            `koanf:"key" doc:"The SID of an API key, SK and 32 digits, which can be revoked alone. Default: none, the account's auth token is used to send."`
	SecretFile       string            `koanf:"secret-file" doc:"A file, of mode 0600, with the API key's secret. Required with -key."`
	AuthTokenFile    string            `koanf:"auth-token-file" doc:"A file, of mode 0600, with the account's auth token: Twilio signs its calls with it. Required, unless there are a key and no public URL."`
	From             string            `koanf:"from" doc:"The number, E.164, or the registered name that messages come from. Required, unless a messaging service is named."`
	MessagingService string            `koanf:"messaging-service" doc:"The SID of a messaging service, MG and 32 digits, which chooses the number."`
	CallFrom         string            `koanf:"call-from" doc:"The number, E.164, that calls come from in which a code is spoken. Default: none; then there are no calls."`
	Voices           map[string]string `koanf:"voices" doc:"The voice that speaks a language (en, zh-Hant-HK, zh-Hans), as Twilio's <Say> names it, such as Polly.Amy. Default: whichever Twilio has for the language."`
	PublicURL        string            `koanf:"public-url" doc:"The URL, as the internet sees it, by which Twilio reaches this route: it signs its calls over it. Set as the number's webhook, POST, for what voters text. Default: none; then there are no receipts and no messages of voters."`
}

// Validate says what is missing or wrong.
func (c Config) Validate() error {
	var wrong wire.Faults
	bad := wrong.If
	if c.URL != "" {
		err := wire.CheckURL(c.URL)
		bad(err != nil, "url: %w", err)
	}
	if c.PublicURL != "" {
		err := wire.CheckURL(c.PublicURL)
		bad(err != nil, "public-url: %w", err)
	}
	bad(!isSID(c.Account, "AC"), "account: it is no SID of an account, AC and 32 digits")
	bad(c.Key != "" && !isSID(c.Key, "SK"), "key: it is no SID of an API key, SK and 32 digits")
	bad((c.Key == "") != (c.SecretFile == ""), "key and secret-file: one without the other")
	bad(c.AuthTokenFile == "" && (c.Key == "" || c.PublicURL != ""), "auth-token-file is missing")
	bad((c.From == "") == (c.MessagingService == ""), "from or messaging-service: one of them")
	bad(c.CallFrom != "" && !strings.HasPrefix(c.CallFrom, "+"), "call-from: it is no number in E.164")
	bad(len(c.Voices) > 0 && c.CallFrom == "", "voices: nothing is spoken without call-from")
	for lang := range c.Voices {
		bad(spoken[lang] == "", "voices: %q is none of en, zh-Hant-HK and zh-Hans", lang)
	}
	bad(c.MessagingService != "" && !isSID(c.MessagingService, "MG"), "messaging-service: it is no SID of one, MG and 32 digits")
	return errors.Join(append(wrong, wire.CheckSecrets(c.SecretFile, c.AuthTokenFile))...)
}

// isSID knows Twilio's ids: two letters for the kind, and 32 hexadecimal digits.
func isSID(text, kind string) bool {
	digits, ok := strings.CutPrefix(text, kind)
	return ok && len(digits) == 32 && strings.Trim(digits, "0123456789abcdef") == ""
}

// Provider is one account. Safe for concurrent use.
type Provider struct {
	config  Config
	deps    provider.Deps
	client  *wire.Client
	handler http.Handler
}

var (
	_ provider.Provider = (*Provider)(nil)
	_ provider.Webhooks = (*Provider)(nil)
	_ provider.Caller   = (*Provider)(nil)
)

// New returns a provider that has asked for nothing yet.
func New(c Config, d provider.Deps) (*Provider, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("couldn't use Twilio: %w", err)
	}
	if c.URL == "" {
		c.URL = "https://api.twilio.com"
	}
	c.URL = strings.TrimSuffix(c.URL, "/")
	p := &Provider{config: c, deps: d, client: wire.NewClient(d.HTTP, d.Clock), handler: http.NotFoundHandler()}
	if c.PublicURL != "" {
		p.handler = wire.NewHandler(d, p.read)
	}
	return p, nil
}

// Handler implements provider.Webhooks. Twilio calls one URL for both kinds.
func (p *Provider) Handler() http.Handler { return p.handler }

// answer is what of Twilio's answers counts: a message that exists, or an error.
type answer struct {
	SID    string `json:"sid"`
	Status any    `json:"status"` // of a message a word, of an error the number
	// ErrorCode is of a message that exists, Code of a request that failed.
	ErrorCode int `json:"error_code"`
	Code      int `json:"code"`
}

// Send implements provider.Provider.
func (p *Provider) Send(ctx context.Context, m sms.Message) (string, error) {
	return p.ask(ctx, m, "SM", func(ctx context.Context) (*http.Request, error) { return p.request(ctx, m) })
}

// ask makes a request that makes something of a kind, whose id it returns.
func (p *Provider) ask(ctx context.Context, m sms.Message, kind string, request func(context.Context) (*http.Request, error)) (string, error) {
	got, err := p.client.Ask(ctx, m, request)
	if err != nil {
		return "", err
	}
	var a answer
	readable := got.Body != nil && json.Unmarshal(got.Body, &a) == nil
	switch {
	case got.Status == http.StatusCreated && readable && a.ErrorCode == 0 && isSID(a.SID, kind) && a.Status != "failed" && a.Status != "undelivered":
		return a.SID, nil
	case readable && a.ErrorCode != 0:
		return "", p.failed(got, a.ErrorCode)
	case readable && a.Code != 0:
		return "", p.failed(got, a.Code)
	}
	return "", p.failed(got, 0)
}

// failed says what an answer means that is no message on its way.
func (p *Provider) failed(got wire.Answer, code int) error {
	return fmt.Errorf("couldn't send by Twilio: %w (status %d, code %d)", p.client.Outcome(got, codes[code]), got.Status, code)
}

func (p *Provider) request(ctx context.Context, m sms.Message) (*http.Request, error) {
	c := p.config
	form := url.Values{"To": {m.To.Reveal()}, "Body": {m.Text}}
	if c.From != "" {
		form.Set("From", c.From)
	} else {
		form.Set("MessagingServiceSid", c.MessagingService)
	}
	if c.PublicURL != "" {
		form.Set("StatusCallback", c.PublicURL)
	}
	// Nobody is to get a code that is not good any more.
	if ttl := p.client.TTL(m, time.Second, 10*time.Hour); ttl > 0 {
		form.Set("ValidityPeriod", strconv.Itoa(ttl))
	}
	return p.post(ctx, "Messages.json", form)
}

// post is a request of the account's.
func (p *Provider) post(ctx context.Context, to string, form url.Values) (*http.Request, error) {
	c := p.config
	user, secretFile := c.Key, c.SecretFile
	if user == "" {
		user, secretFile = c.Account, c.AuthTokenFile
	}
	secret, err := wire.ReadSecret(secretFile)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", sms.ErrUnavailable, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost,
		c.URL+"/2010-04-01/Accounts/"+c.Account+"/"+to, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("%w: couldn't make a request of the URL", sms.ErrUnavailable)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(user, secret)
	return r, nil
}

// states are what Twilio's message statuses mean.
var states = map[string]provider.State{
	"accepted": provider.Accepted, "scheduled": provider.Accepted, "queued": provider.Accepted,
	"sending": provider.Accepted, "sent": provider.Accepted,
	"delivered": provider.Delivered, "read": provider.Delivered,
	"undelivered": provider.Undelivered, "failed": provider.Rejected, "canceled": provider.Expired,
}

// expired is the code of a message whose ValidityPeriod passed.
const expired = "30036"

// read implements wire.Reader. The signature is over the parameters, in order of their names, so the form
// has to be split before it can hold; nothing is made of it until it does.
func (p *Provider) read(r *http.Request, body []byte) (wire.Call, error) {
	signature := r.Header.Get("X-Twilio-Signature")
	token, err := wire.ReadSecret(p.config.AuthTokenFile)
	if err != nil {
		return wire.Call{}, err
	}
	called := p.config.PublicURL
	if r.URL.RawQuery != "" {
		called += "?" + r.URL.RawQuery
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return wire.Call{}, wire.ErrForged
	}
	var form url.Values
	if kind == "application/x-www-form-urlencoded" {
		if form, err = url.ParseQuery(string(body)); err != nil {
			return wire.Call{}, wire.ErrForged
		}
	} else if !hashed(r.URL.Query().Get("bodySHA256"), body) {
		return wire.Call{}, wire.ErrForged
	}
	if !Signed(token, called, form, signature) {
		return wire.Call{}, wire.ErrForged
	}
	return told(form, p.deps.Clock(), signature)
}

// told reads a call that is Twilio's. There is no time stamp in it: what keeps it from being told again
// is that it is remembered, and that telling it again changes nothing.
func told(form url.Values, now time.Time, signature string) (wire.Call, error) {
	if form.Has("CallSid") {
		return toldOfCall(form, now, signature)
	}
	sid := form.Get("MessageSid")
	if !isSID(sid, "SM") && !isSID(sid, "MM") {
		return wire.Call{}, wire.ErrMalformed
	}
	call := wire.Call{Key: signature}
	if status := form.Get("MessageStatus"); status != "" && status != "received" {
		state, known := states[status]
		code := form.Get("ErrorCode")
		switch {
		case !known:
			state = provider.Unknown
		case code == expired:
			state = provider.Expired
		}
		call.Receipts = []provider.Receipt{{Ref: sid, To: sms.Number(form.Get("To")), State: state, Code: code, At: now}}
		return call, nil
	}
	if !form.Has("From") || !form.Has("Body") {
		return wire.Call{}, wire.ErrMalformed
	}
	call.Messages = []sms.Inbound{{
		From: sms.Number(form.Get("From")), To: sms.Number(form.Get("To")), Text: form.Get("Body"), ReceivedAt: now, ProviderID: sid,
	}}
	return call, nil
}

func hashed(want string, body []byte) bool {
	sum := sha256.Sum256(body)
	return subtle.ConstantTimeCompare([]byte(want), []byte(hex.EncodeToString(sum[:]))) == 1
}

// Signed says whether Twilio signed a call of that public URL: base64 of HMAC-SHA1 over the URL and the
// form's parameters in order of their names, each name followed by its value
// (https://www.twilio.com/docs/usage/security#validating-requests). Twilio signs with or without the port.
func Signed(token, called string, form url.Values, signature string) bool {
	u, err := url.Parse(called)
	if err != nil {
		return false
	}
	given, err := base64.StdEncoding.Strict().DecodeString(signature)
	if err != nil || len(given) != sha1.Size {
		return false
	}
	var rest strings.Builder
	for _, name := range slices.Sorted(maps.Keys(form)) {
		values := slices.Clone(form[name])
		slices.Sort(values)
		for _, value := range slices.Compact(values) {
			rest.WriteString(name)
			rest.WriteString(value)
		}
	}
	name, ok := strings.TrimSuffix(u.Host, ":"+u.Port()), 0
	for _, host := range []string{name, name + ":" + port(u)} {
		at := *u
		at.Host = host
		mac := hmac.New(sha1.New, []byte(token))
		mac.Write([]byte(at.String()))
		mac.Write([]byte(rest.String()))
		ok |= subtle.ConstantTimeCompare(mac.Sum(nil), given)
	}
	return ok == 1
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "http":
		return "80"
	}
	return "443"
}

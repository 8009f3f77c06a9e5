// Package webhook sends by any gateway that speaks HTTP, Kannel for one, and takes what one tells: in the form
// and with the signature of Standard Webhooks, or, from one that can't sign, as parameters behind a password.
package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	smpp "github.com/popvote/popvote/apps/sms-gateway/provider/smpp/wire"
	"github.com/popvote/popvote/apps/sms-gateway/provider/wire"
	"github.com/popvote/popvote/libs/sms"
)

// maxID is the longest id of a message that a gateway may give.
const maxID = 128

// rule is an answer by its text.
type rule struct {
	pattern *regexp.Regexp
	outcome error
}

// Provider is one gateway. Safe for concurrent use.
type Provider struct {
	config  Config
	deps    provider.Deps
	client  *wire.Client
	write   func(string) string // how words are written in the body
	success *regexp.Regexp      // nil for none
	rules   []rule
	handler http.Handler
}

var (
	_ provider.Provider = (*Provider)(nil)
	_ provider.Webhooks = (*Provider)(nil)
)

// New returns a provider that has asked for nothing yet. It uses no client of the deps': an operator's URL
// is asked by one that reaches nothing of ours (wire.Outside).
func New(c Config, d provider.Deps) (*Provider, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("couldn't use the gateway: %w", err)
	}
	networks, err := wire.ParseNetworks(c.AllowNetworks)
	if err != nil {
		return nil, err
	}
	return open(c, d, wire.Outside(networks, strings.HasPrefix(c.URL, "http://")))
}

func open(c Config, d provider.Deps, client *http.Client) (*Provider, error) {
	if c.Method == "" {
		c.Method = http.MethodPost
	}
	if len(c.Statuses) == 0 {
		c.Statuses = defaultStatuses
	}
	write, err := c.place()
	if err != nil {
		return nil, err
	}
	p := &Provider{config: c, deps: d, client: wire.NewClient(client, d.Clock), write: write, handler: http.NotFoundHandler()}
	if c.Success != "" {
		p.success = regexp.MustCompile(c.Success)
	}
	for _, one := range []struct {
		pattern string
		outcome error
	}{
		{c.Permanent, sms.ErrPermanent},
		{c.Blocked, sms.ErrBlocked},
		{c.Throttled, sms.ErrThrottled},
		{c.Unavailable, sms.ErrUnavailable},
	} {
		if one.pattern != "" {
			p.rules = append(p.rules, rule{regexp.MustCompile(one.pattern), one.outcome})
		}
	}
	switch {
	case len(c.SigningFiles) > 0:
		p.handler = wire.NewHandler(d, p.read)
	case len(c.CallPasswordFiles) > 0:
		p.handler = wire.NewPlainHandler(d, p.readPlain)
	}
	return p, nil
}

// Handler implements provider.Webhooks.
func (p *Provider) Handler() http.Handler { return p.handler }

// Send implements provider.Provider.
func (p *Provider) Send(ctx context.Context, m sms.Message) (string, error) {
	got, err := p.client.Ask(ctx, m, func(ctx context.Context) (*http.Request, error) { return p.request(ctx, m) })
	if err != nil {
		return "", err
	}
	outcome := p.judge(got)
	if outcome == nil {
		var ref string
		if ref, outcome = p.id(got.Body, m); outcome == nil {
			return ref, nil
		}
	}
	if errors.Is(outcome, sms.ErrThrottled) {
		outcome = p.client.Throttled(got.Header)
	}
	return "", fmt.Errorf("couldn't send by the gateway: %w (status %d)", outcome, got.Status)
}

// judge says what an answer means. What it says comes before its status: a 200 may hold an error.
func (p *Provider) judge(got wire.Answer) error {
	for _, one := range p.rules {
		if one.pattern.Match(got.Body) {
			return one.outcome
		}
	}
	if outcome := wire.Refused(got.Status); outcome != nil {
		return outcome
	}
	if !slices.Contains(p.config.Statuses, got.Status) || got.Body == nil || p.success != nil && !p.success.Match(got.Body) {
		return sms.ErrUnknown
	}
	return nil
}

// id is what the message's receipts will name: an id in the answer, or ours.
func (p *Provider) id(body []byte, m sms.Message) (string, error) {
	var id string
	switch {
	case p.config.IDPath != "":
		id = at(body, strings.Split(p.config.IDPath, "."))
	case p.success != nil && p.success.NumSubexp() > 0:
		id = string(p.success.FindSubmatch(body)[1])
	default:
		return m.ID, nil
	}
	if id == "" || len(id) > maxID {
		return "", sms.ErrUnknown
	}
	return id, nil
}

// at is the text or the number at a path into JSON; empty if there is none.
func at(body []byte, path []string) string {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var value any
	if d.Decode(&value) != nil || d.More() {
		return ""
	}
	for _, name := range path {
		switch inner := value.(type) {
		case map[string]any:
			value = inner[name]
		case []any:
			i, err := strconv.ParseUint(name, 10, 16)
			if err != nil || i >= uint64(len(inner)) {
				return ""
			}
			value = inner[i]
		default:
			return ""
		}
	}
	switch value := value.(type) {
	case string:
		return value
	case json.Number:
		return value.String()
	}
	return ""
}

func (p *Provider) request(ctx context.Context, m sms.Message) (*http.Request, error) {
	words, err := p.words(m)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", sms.ErrUnavailable, err)
	}
	// QueryEscape writes a space as +, which is one only behind the question mark; %20 is one everywhere.
	inURL := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	r, err := http.NewRequestWithContext(ctx, p.config.Method, fill(p.config.URL, words, inURL), strings.NewReader(fill(p.config.Body, words, p.write)))
	if err != nil {
		return nil, fmt.Errorf("%w: couldn't make a request of the URL", sms.ErrUnavailable)
	}
	for name, value := range p.config.Headers {
		value = fill(value, words, asText)
		if !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("%w: the message does not fit into the header %s", sms.ErrUnavailable, name)
		}
		r.Header.Set(name, value)
	}
	return r, nil
}

// words are what stands for what in a message.
func (p *Provider) words(m sms.Message) (map[string]string, error) {
	secret := ""
	if p.config.SecretFile != "" {
		var err error
		if secret, err = wire.ReadSecret(p.config.SecretFile); err != nil {
			return nil, err
		}
	}
	callPassword := ""
	if len(p.config.CallPasswordFiles) > 0 {
		var err error
		if callPassword, err = readPassword(p.config.CallPasswordFiles[0]); err != nil {
			return nil, err
		}
	}
	coding, dataCoding := "0", "0"
	if !smpp.InGSM(m.Text) {
		coding, dataCoding = "2", "8"
	}
	// A gateway keeps what has no time for a day or three.
	ttl := p.client.TTL(m, time.Minute, 24*time.Hour)
	if ttl == 0 {
		ttl = int(24 * time.Hour / time.Second)
	}
	return map[string]string{
		"to": m.To.Reveal(), "to-digits": strings.TrimPrefix(m.To.Reveal(), "+"), "from": p.config.From, "text": m.Text, "id": m.ID, "lang": m.Lang,
		"secret": secret, "call-password": callPassword, "coding": coding, "data-coding": dataCoding, "ttl-seconds": strconv.Itoa(ttl), "ttl-minutes": strconv.Itoa((ttl + 59) / 60),
	}, nil
}

// fill puts the words' values, written for the place, where they stand. What is put in is not looked at again:
// a text with "{secret}" in it stays one.
func fill(template string, words map[string]string, write func(string) string) string {
	return word.ReplaceAllStringFunc(template, func(found string) string { return write(words[strings.Trim(found, "{}")]) })
}

func asText(s string) string { return s }

// asJSON writes what stands between quotation marks.
func asJSON(s string) string {
	quoted, err := json.Marshal(s)
	if err != nil {
		return "" // no string fails
	}
	return string(quoted[1 : len(quoted)-1])
}

package webhook

import (
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/wire"
	"github.com/popvote/popvote/libs/sms"
)

// password is what stands in a URL as it is, and is not guessed.
var password = regexp.MustCompile(`^[A-Za-z0-9_-]{24,128}$`)

// parameters are those that a call of a gateway that can't sign may have, each once.
var parameters = map[string]bool{"id": true, "from": true, "to": true, "text": true, "state": true, "code": true, "time": true}

// readPassword returns the password in a file.
func readPassword(path string) (string, error) {
	text, err := wire.ReadSecret(path)
	if err != nil {
		return "", err
	}
	if !password.MatchString(text) {
		return "", fmt.Errorf("couldn't use %s: a password is 24 to 128 letters, digits, - and _", path)
	}
	return text, nil
}

// readPlain implements wire.Reader for a gateway that can't sign: who knows the password is it. Nothing is
// covered by a signature, so there is no time stamp to look at; what comes twice is known by its own id.
func (p *Provider) readPlain(r *http.Request, body []byte) (wire.Call, error) {
	_, given, _ := r.BasicAuth()
	believed := false
	for _, path := range p.config.CallPasswordFiles {
		want, err := readPassword(path)
		if err != nil {
			return wire.Call{}, err
		}
		if wire.Equal([]byte(want), []byte(given)) {
			believed = true
		}
	}
	if !believed {
		return wire.Call{}, wire.ErrForged
	}
	said := r.URL.RawQuery
	if r.Method == http.MethodPost {
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || kind != "application/x-www-form-urlencoded" || said != "" {
			return wire.Call{}, wire.ErrMalformed
		}
		said = string(body)
	}
	values, err := url.ParseQuery(said)
	if err != nil {
		return wire.Call{}, wire.ErrMalformed
	}
	return p.toldPlainly(values)
}

// toldPlainly reads a call that is the gateway's: a message with from and text, or a receipt with a state.
func (p *Provider) toldPlainly(values url.Values) (wire.Call, error) {
	for name, all := range values {
		if !parameters[name] || len(all) != 1 {
			return wire.Call{}, wire.ErrMalformed
		}
	}
	at, err := p.timeOf(values.Get("time"))
	if err != nil {
		return wire.Call{}, err
	}
	id, from, state := values.Get("id"), values.Get("from"), values.Get("state")
	switch {
	case id == "" || len(id) > maxID:
		return wire.Call{}, wire.ErrMalformed
	case from != "" && values.Has("text") && state == "" && !values.Has("code"):
		return wire.Call{Key: "message " + id, Messages: []sms.Inbound{{
			From: wire.Number(from), To: wire.Number(values.Get("to")), Text: values.Get("text"), ReceivedAt: at, ProviderID: id,
		}}}, nil
	case state != "" && from == "" && !values.Has("to") && !values.Has("text"):
		return wire.Call{Key: "receipt " + state + " " + id, Receipts: []provider.Receipt{{
			Ref: id, State: p.stateOf(state), Code: values.Get("code"), At: at,
		}}}, nil
	}
	return wire.Call{}, wire.ErrMalformed
}

// stateOf is what a gateway's word for a state means.
func (p *Provider) stateOf(theirs string) provider.State {
	if ours, ok := p.config.ReceiptStates[theirs]; ok {
		return provider.State(ours)
	}
	if state := provider.State(theirs); len(p.config.ReceiptStates) == 0 && states[state] {
		return state
	}
	return provider.Unknown
}

// timeOf reads seconds since 1970, or RFC 3339; now if nothing is said.
func (p *Provider) timeOf(text string) (time.Time, error) {
	if text == "" {
		return p.deps.Clock(), nil
	}
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Unix(seconds, 0).UTC(), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, wire.ErrMalformed
	}
	return at, nil
}

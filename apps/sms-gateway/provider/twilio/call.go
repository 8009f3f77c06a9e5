package twilio

import (
	"context"
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/wire"
	"github.com/popvote/popvote/libs/sms"
)

const (
	// rings is how long a phone rings: what nobody takes soon ends on a mailbox, where others may hear it.
	rings = 20 * time.Second
	// lasts is the most that a call lasts, and costs: far above a code that is said twice.
	lasts = 90 * time.Second
)

// spoken are the languages of the polls as <Say> names them (https://www.twilio.com/docs/voice/twiml/say).
var spoken = map[string]string{"en": "en-GB", "zh-Hant-HK": "zh-HK", "zh-Hans": "zh-CN"}

// CanCall implements provider.Caller.
func (p *Provider) CanCall() bool { return p.config.CallFrom != "" }

// Call implements provider.Caller.
func (p *Provider) Call(ctx context.Context, m sms.Message) (string, error) {
	return p.ask(ctx, m, "CA", func(ctx context.Context) (*http.Request, error) {
		form := url.Values{
			"To": {m.To.Reveal()}, "From": {p.config.CallFrom}, "Twiml": {p.speech(m)},
			"Timeout": {strconv.Itoa(int(rings / time.Second))}, "TimeLimit": {strconv.Itoa(int(lasts / time.Second))},
		}
		if p.config.PublicURL != "" {
			form.Set("StatusCallback", p.config.PublicURL)
		}
		return p.post(ctx, "Calls.json", form)
	})
}

// say is a verb of TwiML. A voice has its language in its name, and one that doesn't fit fails the call.
type say struct {
	XMLName  xml.Name `xml:"Say"`
	Language string   `xml:"language,attr,omitempty"`
	Voice    string   `xml:"voice,attr,omitempty"`
	Text     string   `xml:",chardata"`
}

type pause struct {
	XMLName xml.Name `xml:"Pause"`
	Length  int      `xml:"length,attr"`
}

// speech is the TwiML that says a message's lines, a second apart.
func (p *Provider) speech(m sms.Message) string {
	verb := say{Voice: p.config.Voices[m.Lang]}
	if verb.Voice == "" {
		verb.Language = spoken[m.Lang]
	}
	var verbs []any
	for line := range strings.SplitSeq(m.Text, "\n") {
		verb.Text = line
		verbs = append(verbs, pause{Length: 1}, verb)
	}
	text, err := xml.Marshal(struct {
		XMLName xml.Name `xml:"Response"`
		Verbs   []any
	}{Verbs: verbs})
	if err != nil {
		return "" // strings and numbers only: cannot happen, and Twilio would refuse it
	}
	return string(text)
}

// callStates are what Twilio's call statuses mean (https://www.twilio.com/docs/voice/api/call-resource).
var callStates = map[string]provider.State{
	"queued": provider.Accepted, "initiated": provider.Accepted, "ringing": provider.Accepted, "in-progress": provider.Accepted,
	"completed": provider.Delivered, "busy": provider.Undelivered, "no-answer": provider.Undelivered,
	"failed": provider.Rejected, "canceled": provider.Expired,
}

// toldOfCall reads what became of a call.
func toldOfCall(form url.Values, now time.Time, signature string) (wire.Call, error) {
	sid, status := form.Get("CallSid"), form.Get("CallStatus")
	if !isSID(sid, "CA") || status == "" || form.Get("Direction") == "inbound" {
		return wire.Call{}, wire.ErrMalformed
	}
	state, known := callStates[status]
	if !known {
		state = provider.Unknown
	}
	return wire.Call{Key: signature, Receipts: []provider.Receipt{{
		Ref: sid, To: sms.Number(form.Get("To")), State: state, Code: form.Get("SipResponseCode"), At: now,
	}}}, nil
}

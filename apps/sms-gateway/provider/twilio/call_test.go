package twilio

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/wire/wiretest"
	"github.com/popvote/popvote/libs/sms"
)

const call = "CA0123456789abcdef0123456789abcdef"

// called is an answer of the API's as documented (https://www.twilio.com/docs/voice/api/call-resource).
const called = `{"account_sid": "` + account + `", "answered_by": null, "api_version": "2010-04-01", "caller_name": null, "date_created": "Sun, 22 Nov 2026 10:00:00 +0000",
"date_updated": null, "direction": "outbound-api", "duration": null, "end_time": null, "forwarded_from": null, "from": "+85264500000", "group_sid": null,
"parent_call_sid": null, "phone_number_sid": "PN0123456789abcdef0123456789abcdef", "price": null, "price_unit": "USD", "queue_time": "0", "sid": "` + call + `",
"start_time": null, "status": "queued", "to": "+85290000000", "trunk_sid": null, "uri": "…"}`

// calling is a configuration that makes calls.
func calling(t testing.TB) Config {
	c := config(t)
	c.CallFrom = "+85264500000"
	return c
}

func spokenMessage(lang string) sms.Message {
	m := wiretest.Message
	m.Kind, m.Lang, m.Text = sms.ByCall, lang, "Code <4>.\n4, 8, 1, 5, 1, 6."
	return m
}

func TestItCallsAsTwilioAsks(t *testing.T) {
	for name, one := range map[string]struct {
		lang  string
		says  string
		voice map[string]string
	}{
		"English":   {"en", `<Say language="en-GB">`, nil},
		"Cantonese": {"zh-Hant-HK", `<Say language="zh-HK">`, nil},
		"Mandarin":  {"zh-Hans", `<Say language="zh-CN">`, nil},
		"a voice":   {"zh-Hant-HK", `<Say voice="Polly.Hiujin-Neural">`, map[string]string{"zh-Hant-HK": "Polly.Hiujin-Neural"}},
	} {
		t.Run(name, func(t *testing.T) {
			want := url.Values{
				"To": {"+85291234567"}, "From": {"+85264500000"}, "Timeout": {"20"}, "TimeLimit": {"90"}, "StatusCallback": {public},
				"Twiml": {`<Response><Pause length="1"></Pause>` + one.says + `Code &lt;4&gt;.</Say><Pause length="1"></Pause>` + one.says + `4, 8, 1, 5, 1, 6.</Say></Response>`},
			}
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				user, pass, _ := r.BasicAuth()
				if err := r.ParseForm(); err != nil || user != key || pass != "hunter2 of the key" || r.PostForm.Encode() != want.Encode() ||
					r.Method != http.MethodPost || r.URL.Path != "/2010-04-01/Accounts/"+account+"/Calls.json" {
					t.Errorf("%s %s %v, %v", r.Method, r.URL, r.PostForm, err)
				}
				w.WriteHeader(http.StatusCreated)
				_, _ = w.Write([]byte(called))
			}))
			defer server.Close()
			c := calling(t)
			c.URL, c.Voices = server.URL, one.voice
			p, _ := open(t, c, server.Client())
			if ref, err := p.Call(t.Context(), spokenMessage(one.lang)); err != nil || ref != call || !p.CanCall() {
				t.Errorf("%q, %v", ref, err)
			}
		})
	}
	if p, _ := open(t, config(t), &http.Client{}); p.CanCall() {
		t.Error("it calls from no number")
	}
}

func TestWhatTwilioAnswersToACall(t *testing.T) {
	for name, one := range map[string]struct {
		status     int
		body, want string
	}{
		"a message instead":   {201, `{"sid":"` + sid + `","status":"queued"}`, "unknown"},
		"a call that failed":  {201, `{"sid":"` + call + `","status":"failed"}`, "unknown"},
		"an error with 200":   {200, `{"code":13227,"status":400}`, "blocked"},
		"no number":           {400, `{"code":13224,"status":400}`, "permanent"},
		"not from our number": {400, `{"code":21210,"status":400}`, "unavailable"},
		"too many":            {429, `{"code":20429,"status":429}`, "throttled"},
	} {
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(one.status)
			_, _ = w.Write([]byte(one.body))
		}))
		c := calling(t)
		c.URL = server.URL
		p, _ := open(t, c, server.Client())
		_, err := p.Call(t.Context(), spokenMessage("en"))
		if got := wiretest.Outcome(err); got != one.want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
		if err != nil {
			wiretest.Private(t, err.Error())
		}
		server.Close()
	}
}

// calls is Call as Send, for what is expected of both.
type calls struct{ *Provider }

func (c calls) Send(ctx context.Context, m sms.Message) (string, error) { return c.Call(ctx, m) }

func TestACallFails(t *testing.T) {
	wiretest.Failures(t, func(client *http.Client, url string) provider.Provider {
		c := calling(t)
		c.URL = url
		p, _ := open(t, c, client)
		return calls{p}
	})
}

func TestWhatBecameOfACall(t *testing.T) {
	for status, want := range map[string]provider.State{
		"ringing": provider.Accepted, "completed": provider.Delivered, "busy": provider.Undelivered, "no-answer": provider.Undelivered,
		"failed": provider.Rejected, "canceled": provider.Expired, "something": provider.Unknown,
	} {
		got, err := told(url.Values{"CallSid": {call}, "CallStatus": {status}, "Direction": {"outbound-api"}}, wiretest.Now, "s")
		if err != nil || len(got.Receipts) != 1 || got.Receipts[0].State != want || got.Receipts[0].Ref != call || got.Key != "s" || len(got.Messages) != 0 {
			t.Errorf("%s: %+v, %v", status, got, err)
		}
	}
	for name, form := range map[string]url.Values{
		"somebody calls us": {"CallSid": {call}, "CallStatus": {"ringing"}, "Direction": {"inbound"}},
		"no id":             {"CallSid": {"x"}, "CallStatus": {"completed"}},
		"no status":         {"CallSid": {call}},
	} {
		if got, err := told(form, wiretest.Now, "s"); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

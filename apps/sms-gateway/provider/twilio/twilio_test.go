package twilio

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/wire/wiretest"
	"github.com/popvote/popvote/libs/sms"
)

const (
	account = "AC0123456789abcdef0123456789abcdef"
	key     = "SK0123456789abcdef0123456789abcdef"
	sid     = "SM0123456789abcdef0123456789abcdef"
	public  = "https://vote.example.hk/hooks/sms/twilio"
	token   = "hunter2"
)

// TestPublishedVectors: the example of https://www.twilio.com/docs/usage/security, and those by which Twilio
// tests its own libraries (twilio-go, client/request_validator_test.go).
func TestPublishedVectors(t *testing.T) {
	form := url.Values{
		"Digits": {"1234"}, "CallSid": {"CA1234567890ABCDE"}, "To": {"+18005551212"}, "Caller": {"+14158675309"}, "From": {"+14158675309"},
	}
	const body, hash = `{"property": "value", "boolean": true}`, "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
	for name, one := range map[string]struct {
		called    string
		form      url.Values
		signature string
		want      bool
	}{
		"as documented":                {"https://mycompany.com/myapp.php?foo=1&bar=2", form, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", true},
		"signed without the port":      {"https://mycompany.com:1234/myapp.php?foo=1&bar=2", form, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", true},
		"signed with the default port": {"https://mycompany.com/myapp.php?foo=1&bar=2", form, "kvajT1Ptam85bY51eRf/AJRuM3w=", true},
		"over HTTP":                    {"http://mycompany.com/myapp.php?foo=1&bar=2", form, "0ZXoZLH/DfblKGATFgpif+LLRf4=", true},
		"over HTTP with a port":        {"http://mycompany.com:1234/myapp.php?foo=1&bar=2", form, "Zmvh+3yNM1Phv2jhDCwEM3q5ebU=", true},
		"JSON, behind parameters":      {"https://mycompany.com/myapp.php?foo=1&bar=2&bodySHA256=" + hash, nil, "a9nBmqA0ju/hNViExpshrM61xv4=", true},
		"JSON":                         {"https://mycompany.com/myapp.php?bodySHA256=" + hash, nil, "y77kIzt2vzLz71DgmJGsen2scGs=", true},
		"another's signature":          {"https://mycompany.com/myapp.php?foo=1&bar=2", form, "RSOYDt4T1cUTdK1PDd93/VVr8B9=", false},
		"no signature":                 {"https://mycompany.com/myapp.php?foo=1&bar=2", form, "", false},
		"another URL":                  {"https://mycompany.com/myapp.php?foo=1&bar=3", form, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", false},
		"without the form":             {"https://mycompany.com/myapp.php?foo=1&bar=2", nil, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", false},
	} {
		if got := Signed("12345", one.called, one.form, one.signature); got != one.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if !hashed(hash, []byte(body)) || hashed(hash, []byte(body+" ")) || hashed("", nil) {
		t.Error("bodySHA256")
	}
}

func config(t testing.TB) Config {
	return Config{
		Account: account, Key: key, SecretFile: wiretest.Secret(t, "hunter2 of the key"), AuthTokenFile: wiretest.Secret(t, token),
		From: "PopVote", PublicURL: public,
	}
}

func open(t testing.TB, c Config, client *http.Client) (*Provider, *wiretest.Everybody) {
	t.Helper()
	deps, everybody := wiretest.Deps(client)
	p, err := New(c, deps)
	if err != nil {
		t.Fatal(err)
	}
	return p, everybody
}

// created is a recorded answer of the API's, its numbers and ids replaced.
const created = `{"account_sid": "` + account + `", "api_version": "2010-04-01", "body": "…", "date_created": "Sun, 22 Nov 2026 10:00:00 +0000",
"date_sent": null, "date_updated": "Sun, 22 Nov 2026 10:00:00 +0000", "direction": "outbound-api", "error_code": null, "error_message": null,
"from": "PopVote", "messaging_service_sid": null, "num_media": "0", "num_segments": "1", "price": null, "price_unit": "USD",
"sid": "` + sid + `", "status": "queued", "subresource_uris": {"media": "…"}, "to": "+85290000000", "uri": "…"}`

func TestItSendsAsTwilioAsks(t *testing.T) {
	for name, one := range map[string]struct {
		change     func(*Config)
		user, pass string
		want       url.Values
	}{
		"with a key": {func(*Config) {}, key, "hunter2 of the key", url.Values{"From": {"PopVote"}, "StatusCallback": {public}}},
		"with the account, by a service": {func(c *Config) {
			c.Key, c.SecretFile, c.From, c.MessagingService, c.PublicURL = "", "", "", "MG0123456789abcdef0123456789abcdef", ""
		}, account, token, url.Values{"MessagingServiceSid": {"MG0123456789abcdef0123456789abcdef"}}},
	} {
		t.Run(name, func(t *testing.T) {
			one.want.Set("To", wiretest.Message.To.Reveal())
			one.want.Set("Body", wiretest.Message.Text)
			one.want.Set("ValidityPeriod", "300")
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				user, pass, _ := r.BasicAuth()
				if err := r.ParseForm(); err != nil || user != one.user || pass != one.pass || r.PostForm.Encode() != one.want.Encode() ||
					r.Method != http.MethodPost || r.URL.Path != "/2010-04-01/Accounts/"+account+"/Messages.json" || r.URL.RawQuery != "" {
					t.Errorf("%s %s %q:%q %v, %v", r.Method, r.URL, user, pass, r.PostForm, err)
				}
				w.WriteHeader(http.StatusCreated)
				_, _ = w.Write([]byte(created))
			}))
			defer server.Close()
			c := config(t)
			c.URL = server.URL
			one.change(&c)
			p, _ := open(t, c, server.Client())
			if ref, err := p.Send(t.Context(), wiretest.Message); err != nil || ref != sid {
				t.Errorf("%q, %v", ref, err)
			}
		})
	}
}

func TestWhatTwilioAnswers(t *testing.T) {
	type answer struct {
		status     int
		body, want string
	}
	answers := map[string]answer{
		"created, failed":             {201, `{"sid":"` + sid + `","status":"failed","error_code":null}`, "unknown"},
		"created, without an id":      {201, `{"status":"queued"}`, "unknown"},
		"created, blocked":            {201, `{"sid":"` + sid + `","status":"failed","error_code":30450}`, "blocked"},
		"200 with an error body":      {200, `{"code":21211,"message":"+85291234567 is not valid","status":400}`, "permanent"},
		"200 with an unknown error":   {200, `{"code":29999}`, "unknown"},
		"an unknown code":             {400, `{"code":29999,"message":"+85291234567"}`, "unavailable"},
		"an error that is no number":  {400, `{"code":"21211"}`, "unavailable"},
		"it timed out":                {408, `{}`, "unknown"},
		"unavailable, and who knows?": {503, `{"code":20503}`, "unknown"},
	}
	names := map[error]string{
		sms.ErrPermanent: "permanent", sms.ErrBlocked: "blocked", sms.ErrThrottled: "throttled", sms.ErrUnavailable: "unavailable", sms.ErrUnknown: "unknown",
	}
	for code, outcome := range codes {
		answers[fmt.Sprintf("code %d", code)] = answer{400, fmt.Sprintf(`{"code":%d,"message":"hunter2 +85291234567","more_info":"…","status":400}`, code), names[outcome]}
	}
	for name, one := range answers {
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(one.status)
			_, _ = w.Write([]byte(one.body))
		}))
		c := config(t)
		c.URL = server.URL
		p, _ := open(t, c, server.Client())
		_, err := p.Send(t.Context(), wiretest.Message)
		if got := wiretest.Outcome(err); got != one.want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
		if throttled, ok := errors.AsType[*sms.Throttled](err); ok && throttled.After != 7*time.Second {
			t.Errorf("%s: wait %v", name, throttled.After)
		}
		wiretest.Private(t, err.Error())
		server.Close()
	}
}

func TestTwilioFails(t *testing.T) {
	wiretest.Failures(t, func(client *http.Client, url string) provider.Provider {
		c := config(t)
		c.URL = url
		p, _ := open(t, c, client)
		return p
	})
}

// signed is a call as Twilio makes it.
func signed(called string, form url.Values) *http.Request {
	data := called
	for _, pair := range strings.Split(form.Encode(), "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, _ = url.QueryUnescape(name)
		value, _ = url.QueryUnescape(value)
		data += name + value
	}
	mac := hmac.New(sha1.New, []byte(token))
	mac.Write([]byte(data))
	_, query, _ := strings.Cut(called, "?")
	r := httptest.NewRequest(http.MethodPost, "http://10.0.0.5:8094/twilio?"+query, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	r.Header.Set("X-Twilio-Signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return r
}

func inbound() url.Values {
	return url.Values{
		"ToCountry": {"HK"}, "SmsMessageSid": {sid}, "NumMedia": {"0"}, "SmsSid": {sid}, "SmsStatus": {"received"}, "Body": {"VOTE AB0D1234 投票"},
		"To": {"+85264500000"}, "NumSegments": {"1"}, "MessageSid": {sid}, "AccountSid": {account}, "From": {"+85291234567"}, "ApiVersion": {"2010-04-01"},
	}
}

func serve(p *Provider, r *http.Request) int {
	w := httptest.NewRecorder()
	p.Handler().ServeHTTP(w, r)
	return w.Code
}

func TestItTakesWhatVotersText(t *testing.T) {
	p, everybody := open(t, config(t), &http.Client{})
	for range 2 { // the second is a replay
		if got := serve(p, signed(public, inbound())); got != http.StatusNoContent {
			t.Fatalf("answered %d", got)
		}
	}
	in, receipts := everybody.Take()
	if len(in) != 1 || len(receipts) != 0 {
		t.Fatalf("%d, %d", len(in), len(receipts))
	}
	want := sms.Inbound{From: "+85291234567", To: "+85264500000", Text: "VOTE AB0D1234 投票", ReceivedAt: wiretest.Now, ProviderID: sid}
	if in[0] != want {
		t.Errorf("%+v", in[0])
	}
	wiretest.Private(t, everybody.Log())
}

func TestItTakesReceipts(t *testing.T) {
	p, everybody := open(t, config(t), &http.Client{})
	for _, one := range []struct {
		status, code string
		want         provider.State
	}{
		{"queued", "", provider.Accepted},
		{"sent", "", provider.Accepted},
		{"delivered", "", provider.Delivered},
		{"undelivered", "30003", provider.Undelivered},
		{"undelivered", "30036", provider.Expired},
		{"failed", "30007", provider.Rejected},
		{"canceled", "", provider.Expired},
		{"something new", "", provider.Unknown},
	} {
		form := url.Values{"MessageSid": {sid}, "MessageStatus": {one.status}, "To": {"+85291234567"}, "AccountSid": {account}}
		if one.code != "" {
			form.Set("ErrorCode", one.code)
		}
		if got := serve(p, signed(public, form)); got != http.StatusNoContent {
			t.Fatalf("%s: answered %d", one.status, got)
		}
		in, receipts := everybody.Take()
		want := provider.Receipt{Provider: "route", Ref: sid, To: "+85291234567", State: one.want, Code: one.code, At: wiretest.Now}
		if len(in) != 0 || len(receipts) != 1 || receipts[0] != want {
			t.Errorf("%s: %v, want %v", one.status, receipts, want)
		}
	}
}

func TestItBelievesNobodyElse(t *testing.T) {
	p, everybody := open(t, config(t), &http.Client{})
	for name, one := range map[string]struct {
		want int
		make func() *http.Request
	}{
		"no signature":                 {403, func() *http.Request { r := signed(public, inbound()); r.Header.Del("X-Twilio-Signature"); return r }},
		"signed for our inner address": {403, func() *http.Request { return signed("http://10.0.0.5:8094/twilio", inbound()) }},
		"another query":                {403, func() *http.Request { r := signed(public, inbound()); r.URL.RawQuery = "x=1"; return r }},
		"a parameter more": {403, func() *http.Request {
			r := signed(public, inbound())
			form := inbound()
			form.Add("Body", "VOTE ZZZZZZZZ")
			s := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(form.Encode()))
			s.Header = r.Header
			return s
		}},
		"JSON without its hash": {403, func() *http.Request {
			r := signed(public, nil)
			r.Header.Set("Content-Type", "application/json")
			return r
		}},
		"no type":             {403, func() *http.Request { r := signed(public, inbound()); r.Header.Del("Content-Type"); return r }},
		"signed, and nothing": {400, func() *http.Request { return signed(public, url.Values{"A": {"b"}}) }},
		"signed, of a call":   {400, func() *http.Request { return signed(public, url.Values{"CallSid": {"CA12"}, "From": {"+1"}}) }},
	} {
		if got := serve(p, one.make()); got != one.want {
			t.Errorf("%s: answered %d, want %d", name, got, one.want)
		}
	}
	if in, receipts := everybody.Take(); len(in)+len(receipts) != 0 {
		t.Errorf("it believed %d, %d", len(in), len(receipts))
	}
	if got := serve(p, signed(public+"?x=1", inbound())); got != http.StatusNoContent {
		t.Errorf("a query that is signed: %d", got)
	}
}

func TestWithoutAPublicURLNobodyCalls(t *testing.T) {
	c := config(t)
	c.PublicURL = ""
	p, _ := open(t, c, &http.Client{})
	if got := serve(p, signed(public, inbound())); got != http.StatusNotFound {
		t.Errorf("answered %d", got)
	}
}

func TestValidate(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no account":           func(c *Config) { c.Account = "" },
		"account of a key":     func(c *Config) { c.Account = key },
		"key in capitals":      func(c *Config) { c.Key = strings.ToUpper(key) },
		"key without secret":   func(c *Config) { c.SecretFile = "" },
		"secret without key":   func(c *Config) { c.Key = "" },
		"nothing to check by":  func(c *Config) { c.AuthTokenFile = "" },
		"a file that is away":  func(c *Config) { c.AuthTokenFile += "x" },
		"nobody to come from":  func(c *Config) { c.From = "" },
		"two to come from":     func(c *Config) { c.MessagingService = "MG0123456789abcdef0123456789abcdef" },
		"no service":           func(c *Config) { c.From, c.MessagingService = "", "MG" },
		"plain HTTP":           func(c *Config) { c.URL = "http://api.twilio.com" },
		"public URL with more": func(c *Config) { c.PublicURL = public + "?a=b" },
	} {
		c := config(t)
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: it was taken", name)
		}
		if _, err := New(c, provider.Deps{}); err == nil {
			t.Errorf("%s: it began", name)
		} else {
			wiretest.Private(t, err.Error())
		}
	}
	if err := config(t).Validate(); err != nil {
		t.Error(err)
	}
}

func FuzzCalls(f *testing.F) {
	deps, everybody := wiretest.Deps(&http.Client{})
	p, err := New(config(f), deps)
	if err != nil {
		f.Fatal(err)
	}
	f.Add("application/x-www-form-urlencoded", inbound().Encode(), "RSOYDt4T1cUTdK1PDd93/VVr8B8=", "")
	f.Add("application/json", `{"a":1}`, "", "bodySHA256=00")
	f.Add("text/plain; a", "%zz", "====", "%")
	f.Fuzz(func(t *testing.T, kind, body, signature, query string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.URL.RawQuery = query
		r.Header["Content-Type"], r.Header["X-Twilio-Signature"] = []string{kind}, []string{signature}
		if got := serve(p, r); got/100 != 4 {
			t.Fatalf("answered %d", got)
		}
		if in, receipts := everybody.Take(); len(in)+len(receipts) != 0 {
			t.Fatal("it was believed")
		}
		// What comes behind the signature must hold against anything, too.
		if form, err := url.ParseQuery(body); err == nil {
			if call, err := told(form, wiretest.Now, signature); err == nil && len(call.Messages)+len(call.Receipts) != 1 {
				t.Fatalf("%+v", call)
			}
		}
	})
}

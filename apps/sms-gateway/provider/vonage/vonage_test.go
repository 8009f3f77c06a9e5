package vonage

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/wire"
	"github.com/popvote/popvote/apps/sms-gateway/provider/wire/wiretest"
	"github.com/popvote/popvote/libs/sms"
)

const (
	application = "78d335fa-323d-0114-9c3d-d6f0d48968cf"
	secret      = "hunter2 hunter2 hunter2 hunter2 hunter2"
	id          = "aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab"
)

var newKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func config(t testing.TB) Config {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(newKey())
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Application: application, KeyFile: wiretest.Secret(t, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))),
		From: "+85264500000", APIKey: "abcd1234", SignatureFile: wiretest.Secret(t, secret),
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

func TestItSendsAsVonageAsks(t *testing.T) {
	tokens := map[string]bool{}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		tokens[token] = true
		parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
		if err != nil {
			t.Fatal(err)
		}
		var claims map[string]any
		if err := parsed.Claims(&newKey().PublicKey, &claims); err != nil || claims["application_id"] != application || claims["jti"] == "" ||
			claims["exp"].(float64)-claims["iat"].(float64) != 300 || len(claims) != 4 {
			t.Errorf("%v, %v", claims, err)
		}
		var got map[string]any
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		want := map[string]any{
			"message_type": "text", "channel": "sms", "to": "85291234567", "from": "85264500000", "text": wiretest.Message.Text, "ttl": 300.0, "client_ref": "m-1",
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || r.Method != http.MethodPost || r.URL.String() != "/v1/messages" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s %v", r.Method, r.URL, got)
		}
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"message_uuid":"`+id+`"}`)
	}))
	defer server.Close()
	c := config(t)
	c.URL = server.URL
	p, _ := open(t, c, server.Client())
	now := wiretest.Now
	p.deps.Clock = func() time.Time { return now }
	for range 2 {
		for range 2 {
			if ref, err := p.Send(t.Context(), wiretest.Message); err != nil || ref != id {
				t.Errorf("%q, %v", ref, err)
			}
		}
		now = now.Add(time.Minute)
	}
	if len(tokens) != 2 {
		t.Errorf("%d tokens for two minutes", len(tokens))
	}
}

func TestWhatVonageAnswers(t *testing.T) {
	type answer struct {
		status     int
		body, want string
	}
	answers := map[string]answer{
		"an id that is none":       {202, `{"message_uuid":"+85291234567"}`, "unknown"},
		"accepted, and an error":   {202, `{"message_uuid":"` + id + `","type":"https://developer.vonage.com/api-errors/messages#1240"}`, "permanent"},
		"an id, and not accepted":  {200, `{"message_uuid":"` + id + `"}`, "unknown"},
		"200 with an error":        {200, `{"type":"https://developer.vonage.com/api-errors/messages#1000"}`, "throttled"},
		"200 with a strange error": {200, `{"type":"https://developer.vonage.com/api-errors/messages#+85291234567"}`, "unknown"},
		"an error without a type":  {422, `{"title":"hunter2"}`, "unavailable"},
		"a type that is no URL":    {422, `{"type":"://%zz"}`, "unavailable"},
		"it timed out":             {408, `{}`, "unknown"},
	}
	names := map[error]string{
		sms.ErrPermanent: "permanent", sms.ErrBlocked: "blocked", sms.ErrThrottled: "throttled", sms.ErrUnavailable: "unavailable", sms.ErrUnknown: "unknown",
	}
	for code, outcome := range codes {
		answers["code "+code] = answer{
			422,
			`{"type":"https://developer.vonage.com/api-errors/messages#` + code + `","title":"hunter2","detail":"+85291234567","instance":"bf0ca0bf927b3b52e3cb03217e1a1ddf"}`,
			names[outcome],
		}
	}
	for name, one := range answers {
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(one.status)
			_, _ = io.WriteString(w, one.body)
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
		if err != nil {
			wiretest.Private(t, err.Error())
		}
		server.Close()
	}
}

func TestVonageFails(t *testing.T) {
	wiretest.Failures(t, func(client *http.Client, url string) provider.Provider {
		c := config(t)
		c.URL = url
		p, _ := open(t, c, client)
		return p
	})
}

// claims are those of a good call's token.
func claims(body string) map[string]any {
	sum := sha256.Sum256([]byte(body))
	return map[string]any{
		"iat": wiretest.Now.Unix(), "jti": "c5ba8f24-1a14-4c10-bfdf-3fbe8ce511b5", "iss": "Vonage", "payload_hash": hex.EncodeToString(sum[:]),
		"api_key": "abcd1234", "application_id": application,
	}
}

// signed is a call as Vonage makes it.
func signed(t testing.TB, body string, with map[string]any, algorithm jose.SignatureAlgorithm, key any) *http.Request {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := jwt.Signed(signer).Claims(with).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

func good(t testing.TB, body string) *http.Request {
	return signed(t, body, claims(body), jose.HS256, []byte(secret))
}

func serve(p *Provider, r *http.Request) int {
	w := httptest.NewRecorder()
	p.Handler().ServeHTTP(w, r)
	return w.Code
}

// inbound is the documentation's example of an inbound SMS, with other numbers.
const inbound = `{"channel":"sms","message_uuid":"` + id + `","to":"85264500000","from":"85291234567","timestamp":"2026-11-22T09:59:58.000Z",` +
	`"context_status":"none","text":"VOTE AB0D1234","sms":{"num_messages":"1","keyword":"VOTE"},"usage":{"currency":"EUR","price":"0.0057"},"message_type":"text"}`

func TestItTakesWhatVotersText(t *testing.T) {
	p, everybody := open(t, config(t), &http.Client{})
	for range 2 { // the second is a replay
		if got := serve(p, good(t, inbound)); got != http.StatusNoContent {
			t.Fatalf("answered %d", got)
		}
	}
	in, receipts := everybody.Take()
	want := sms.Inbound{From: "+85291234567", To: "+85264500000", Text: "VOTE AB0D1234", ReceivedAt: wiretest.Now.Add(-2 * time.Second), ProviderID: id}
	if len(in) != 1 || in[0] != want || len(receipts) != 0 {
		t.Errorf("%+v, %v", in, receipts)
	}
}

func TestItTakesReceipts(t *testing.T) {
	p, everybody := open(t, config(t), &http.Client{})
	for i, one := range []struct {
		status, problem string
		want            provider.State
		code            string
	}{
		{"submitted", "", provider.Accepted, ""},
		{"delivered", "", provider.Delivered, ""},
		{"rejected", "1210", provider.Rejected, "1210"},
		{"rejected", "1360", provider.Expired, "1360"},
		{"rejected", "+85291234567", provider.Rejected, ""},
		{"undeliverable", "1180", provider.Undelivered, "1180"},
		{"something new", "", provider.Unknown, ""},
	} {
		body := fmt.Sprintf(`{"message_uuid":%q,"to":"85291234567","from":"PopVote","timestamp":"2026-11-22T09:59:59Z","status":%q,"client_ref":"m-1","channel":"sms",`+
			`"error":{"type":"https://developer.vonage.com/api-errors/messages#%s","title":"x","detail":"y","instance":"z"}}`, id, one.status, one.problem)
		with := claims(body)
		with["jti"] = fmt.Sprint(i)
		if got := serve(p, signed(t, body, with, jose.HS256, []byte(secret))); got != http.StatusNoContent {
			t.Fatalf("%s: answered %d", one.status, got)
		}
		in, receipts := everybody.Take()
		want := provider.Receipt{Provider: "route", Ref: id, To: "+85291234567", State: one.want, Code: one.code, At: wiretest.Now.Add(-time.Second)}
		if len(in) != 0 || len(receipts) != 1 || receipts[0] != want {
			t.Errorf("%s: %v", one.status, receipts)
		}
	}
}

func TestItBelievesNobodyElse(t *testing.T) {
	p, everybody := open(t, config(t), &http.Client{})
	with := func(name string, value any) func() *http.Request {
		return func() *http.Request {
			c := claims(inbound)
			c[name] = value
			return signed(t, inbound, c, jose.HS256, []byte(secret))
		}
	}
	for name, one := range map[string]struct {
		want int
		make func() *http.Request
	}{
		"no token":   {403, func() *http.Request { r := good(t, inbound); r.Header.Del("Authorization"); return r }},
		"a password": {403, func() *http.Request { r := good(t, inbound); r.SetBasicAuth("abcd1234", secret); return r }},
		"another secret": {403, func() *http.Request {
			return signed(t, inbound, claims(inbound), jose.HS256, []byte(strings.Repeat("x", 32)))
		}},
		"another algorithm": {403, func() *http.Request {
			return signed(t, inbound, claims(inbound), jose.HS384, []byte(strings.Repeat(secret, 2)))
		}},
		"an RSA key": {403, func() *http.Request { return signed(t, inbound, claims(inbound), jose.RS256, newKey()) }},
		"no algorithm": {403, func() *http.Request {
			r := good(t, inbound)
			r.Header.Set("Authorization", "Bearer eyJhbGciOiJub25lIn0.e30.")
			return r
		}},
		"another body": {403, func() *http.Request {
			r := good(t, inbound)
			r.Body = io.NopCloser(strings.NewReader(inbound + " "))
			return r
		}},
		"no hash":             {403, with("payload_hash", "")},
		"another account":     {403, with("api_key", "other")},
		"another application": {403, with("application_id", id)},
		"no id":               {403, with("jti", "")},
		"no time":             {403, with("iat", nil)},
		"long ago":            {403, with("iat", wiretest.Now.Add(-5*time.Minute-time.Second).Unix())},
		"some day":            {403, with("iat", wiretest.Now.Add(5*time.Minute+time.Second).Unix())},
		"no JSON":             {400, func() *http.Request { return good(t, "x") }},
		"no message":          {400, func() *http.Request { return good(t, `{"message_uuid":"`+id+`","channel":"sms"}`) }},
		"no id of a message":  {400, func() *http.Request { return good(t, `{"from":"1","text":"x"}`) }},
		"another channel":     {204, func() *http.Request { return good(t, strings.Replace(inbound, `"sms"`, `"whatsapp"`, 1)) }},
	} {
		if got := serve(p, one.make()); got != one.want {
			t.Errorf("%s: answered %d, want %d", name, got, one.want)
		}
	}
	if in, receipts := everybody.Take(); len(in)+len(receipts) != 0 {
		t.Error("it believed something")
	}
	wiretest.Private(t, everybody.Log())
}

// TestPublishedVector is the token by which Vonage tests the verification in its own library
// (vonage-python-sdk, jwt/tests/test_verify_jwt.py). It holds, and has no payload_hash, so it is for no body.
func TestPublishedVector(t *testing.T) {
	const token = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJPbmxpbmUgSldUIEJ1aWxkZXIiLCJpYXQiOjE2OTc2MzQ2ODAsImV4cCI6MzMyNTQ1NDA4MjgsImF1ZCI6IiIsInN1YiI6IiJ9.88vJc3I2HhuqEDixHXVhc9R30tA6U_HQHZTC29y6CGM"
	for key, want := range map[string]bool{"qwertyuiopasdfghjklzxcvbnm123456": true, "qwertyuiopasdfghjklzxcvbnm123457": false} {
		if _, err := claimsOf(token, []byte(key)); (err == nil) != want {
			t.Errorf("%s: %v", key, err)
		}
	}
	p, _ := open(t, config(t), &http.Client{})
	if _, err := p.believe(token, []byte("qwertyuiopasdfghjklzxcvbnm123456"), nil); !errors.Is(err, wire.ErrForged) {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	weak := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(small)}))
	for name, change := range map[string]func(*Config){
		"no application": func(c *Config) { c.Application = "" },
		"no key":         func(c *Config) { c.KeyFile = "" },
		"a key of words": func(c *Config) { c.KeyFile = wiretest.Secret(t, "hunter2") },
		"a key of nothing": func(c *Config) {
			c.KeyFile = wiretest.Secret(t, "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----")
		},
		"a weak key":        func(c *Config) { c.KeyFile = wiretest.Secret(t, weak) },
		"nobody to be from": func(c *Config) { c.From = "" },
		"no account":        func(c *Config) { c.APIKey = "" },
		"no secret":         func(c *Config) { c.SignatureFile = "" },
		"a weak secret":     func(c *Config) { c.SignatureFile = wiretest.Secret(t, "hunter2") },
		"plain HTTP":        func(c *Config) { c.URL = "http://api.nexmo.com" },
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
	c := config(t)
	c.KeyFile = wiretest.Secret(t, string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(newKey())})))
	if err := c.Validate(); err != nil {
		t.Errorf("a key in the older form: %v", err)
	}
}

func TestWithoutASecretNobodyCalls(t *testing.T) {
	c := config(t)
	c.APIKey, c.SignatureFile = "", ""
	p, _ := open(t, c, &http.Client{})
	if got := serve(p, good(t, inbound)); got != http.StatusNotFound {
		t.Errorf("answered %d", got)
	}
}

func FuzzCalls(f *testing.F) {
	p, everybody := open(f, config(f), &http.Client{})
	f.Add("Bearer eyJhbGciOiJub25lIn0.e30.", inbound)
	f.Add("Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJpc3MiOiIifQ.88vJc3I2HhuqEDixHXVhc9R30tA6U_HQHZTC29y6CGM", `{"message_uuid":1}`)
	f.Add("Bearer ..", `{"status":"delivered","message_uuid":"`+id+`","error":{"type":"#1360"}}`)
	f.Fuzz(func(t *testing.T, authorization, body string) {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header["Authorization"] = []string{authorization}
		if got := serve(p, r); got/100 != 4 {
			t.Fatalf("answered %d", got)
		}
		if in, receipts := everybody.Take(); len(in)+len(receipts) != 0 {
			t.Fatal("it was believed")
		}
		// What comes behind the signature must hold against anything, too.
		if call, err := told("1", []byte(body)); err == nil && len(call.Messages)+len(call.Receipts) > 1 {
			t.Fatalf("%+v", call)
		}
	})
}

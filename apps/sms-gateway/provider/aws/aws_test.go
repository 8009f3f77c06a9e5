package aws

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/pinpointsmsvoicev2/types"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/wire/wiretest"
	"github.com/popvote/popvote/libs/sms"
)

const (
	topic = "arn:aws:sns:ap-east-1:123456789012:popvote-sms"
	ref   = "862a8790-60c0-4430-9b2b-658bdexample"
)

func config(t testing.TB) Config {
	return Config{
		Region: "ap-east-1", Origination: "PopVote", ConfigurationSet: "popvote", MaxPrice: "0.09", Topics: []string{topic},
		CredentialsFile: wiretest.Secret(t, `{"Version":1,"AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"hunter2","SessionToken":"of the session"}`),
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

// checkSignature signs the request again, as only who has the secret can.
func checkSignature(t *testing.T, r *http.Request, body []byte) {
	t.Helper()
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("signed at %q", r.Header.Get("X-Amz-Date"))
	}
	authorization := r.Header.Get("Authorization")
	_, names, _ := strings.Cut(authorization, "SignedHeaders=")
	names, _, _ = strings.Cut(names, ",")
	again, err := http.NewRequest(r.Method, "https://"+r.Host+r.URL.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Split(names, ";") {
		if value := r.Header.Get(name); value != "" {
			again.Header.Set(name, value)
		}
	}
	again.ContentLength = int64(len(body))
	sum := sha256.Sum256(body)
	credentials := sdk.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "hunter2", SessionToken: "of the session"}
	if err := v4.NewSigner().SignHTTP(t.Context(), credentials, again, hex.EncodeToString(sum[:]), "sms-voice", "ap-east-1", at); err != nil {
		t.Fatal(err)
	}
	if got := again.Header.Get("Authorization"); got != authorization {
		t.Errorf("signed %s, want %s", authorization, got)
	}
}

func TestItSendsAsAWSAsks(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		checkSignature(t, r, body)
		var got map[string]any
		if err := json.Unmarshal(body, &got); err != nil {
			t.Error(err)
		}
		want := map[string]any{
			"DestinationPhoneNumber": "+85291234567", "MessageBody": wiretest.Message.Text, "MessageType": "TRANSACTIONAL", "OriginationIdentity": "PopVote",
			"ConfigurationSetName": "popvote", "MaxPrice": "0.09", "TimeToLive": 300.0,
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || r.Header.Get("X-Amz-Target") != "PinpointSMSVoiceV2.SendTextMessage" {
			t.Errorf("%v %v", r.Header, got)
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		_, _ = io.WriteString(w, `{"MessageId":"`+ref+`"}`)
	}))
	defer server.Close()
	c := config(t)
	c.URL = server.URL
	p, _ := open(t, c, server.Client())
	if got, err := p.Send(t.Context(), wiretest.Message); err != nil || got != ref {
		t.Errorf("%q, %v", got, err)
	}
}

func TestWhatAWSAnswers(t *testing.T) {
	type answer struct {
		status     int
		body, want string
	}
	answers := map[string]answer{
		"no id":                     {200, `{}`, "unknown"},
		"an id that is none":        {200, `{"MessageId":"` + strings.Repeat("x", 129) + `"}`, "unknown"},
		"an error with 200":         {200, `{"__type":"ValidationException","message":"hunter2"}`, "unknown"},
		"throttled":                 {400, `{"__type":"ThrottlingException","Message":"+85291234567"}`, "throttled"},
		"internal":                  {500, `{"__type":"InternalServerException","Message":"+85291234567"}`, "unknown"},
		"no such pool":              {400, `{"__type":"ResourceNotFoundException","Message":"+85291234567"}`, "unavailable"},
		"denied":                    {400, `{"__type":"AccessDeniedException","Reason":"INSUFFICIENT_ACCOUNT_REPUTATION"}`, "unavailable"},
		"no money":                  {400, `{"__type":"ServiceQuotaExceededException","Reason":"MONTHLY_SPEND_LIMIT_REACHED_FOR_TEXT"}`, "unavailable"},
		"a word that is none":       {400, `{"__type":"ConflictException","Reason":"+85291234567"}`, "unavailable"},
		"a number that is none":     {400, `{"__type":"ValidationException","Reason":"INVALID_PARAMETER","Fields":[{"Name":"DestinationPhoneNumber","Message":"+85291234567"}]}`, "permanent"},
		"a sender that is none":     {400, `{"__type":"ValidationException","Reason":"INVALID_PARAMETER","Fields":[{"Name":"OriginationIdentity","Message":"x"}]}`, "unavailable"},
		"an exception of tomorrow":  {400, `{"__type":"TeapotException","Message":"+85291234567"}`, "unavailable"},
		"one of tomorrow, with 503": {503, `{"__type":"TeapotException","Message":"+85291234567"}`, "unknown"},
		"it timed out":              {408, `{}`, "unknown"},
	}
	names := map[error]string{sms.ErrPermanent: "permanent", sms.ErrBlocked: "blocked"}
	for _, reason := range types.ConflictExceptionReason("").Values() {
		want := "unavailable"
		if outcome := conflicts[reason]; outcome != nil {
			want = names[outcome]
		}
		answers["conflict "+string(reason)] = answer{400, `{"__type":"ConflictException","Message":"+85291234567","Reason":"` + string(reason) + `"}`, want}
	}
	for _, reason := range types.ValidationExceptionReason("").Values() {
		want := "unavailable"
		if outcome := validations[reason]; outcome != nil {
			want = names[outcome]
		}
		answers["invalid "+string(reason)] = answer{400, `{"__type":"ValidationException","Message":"+85291234567","Reason":"` + string(reason) + `"}`, want}
	}
	var now answer
	asked := 0
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(now.status)
		_, _ = io.WriteString(w, now.body)
	}))
	defer server.Close()
	c := config(t)
	c.URL = server.URL
	p, _ := open(t, c, server.Client())
	for name, one := range answers {
		now = one
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
	}
	if asked != len(answers) {
		t.Errorf("asked %d times for %d messages", asked, len(answers))
	}
}

func TestAWSFails(t *testing.T) {
	wiretest.Failures(t, func(client *http.Client, url string) provider.Provider {
		c := config(t)
		c.URL = url
		p, _ := open(t, c, client)
		return p
	})
}

func TestCredentialsThatExpiredSendNothing(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }))
	defer server.Close()
	c := config(t)
	c.URL = server.URL
	c.CredentialsFile = wiretest.Secret(t, `{"Version":1,"AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"hunter2","Expiration":"2020-01-01T00:00:00Z"}`)
	p, _ := open(t, c, server.Client()) // it begins: they are renewed while it runs
	if _, err := p.Send(t.Context(), wiretest.Message); wiretest.Outcome(err) != "unavailable" {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no region":            func(c *Config) { c.Region = "" },
		"a region with a host": func(c *Config) { c.Region = "ap-east-1.evil.example/" },
		"no credentials":       func(c *Config) { c.CredentialsFile = "" },
		"other credentials":    func(c *Config) { c.CredentialsFile = wiretest.Secret(t, "[default]\naws_secret_access_key=hunter2") },
		"half of them":         func(c *Config) { c.CredentialsFile = wiretest.Secret(t, `{"Version":1,"SecretAccessKey":"hunter2"}`) },
		"another version": func(c *Config) {
			c.CredentialsFile = wiretest.Secret(t, `{"Version":2,"AccessKeyId":"a","SecretAccessKey":"hunter2"}`)
		},
		"nobody to come from": func(c *Config) { c.Origination = "" },
		"a price of words":    func(c *Config) { c.MaxPrice = "cheap" },
		"no topic":            func(c *Config) { c.Topics = []string{"popvote-sms"} },
		"a topic elsewhere":   func(c *Config) { c.Topics = []string{"arn:aws:sns:evil.example/:123456789012:x"} },
		"a queue":             func(c *Config) { c.Topics = []string{"arn:aws:sqs:ap-east-1:123456789012:x"} },
		"plain HTTP":          func(c *Config) { c.URL = "http://sms-voice.ap-east-1.amazonaws.com" },
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

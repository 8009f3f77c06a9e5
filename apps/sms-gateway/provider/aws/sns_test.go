package aws

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/wire"
	"github.com/popvote/popvote/apps/sms-gateway/provider/wire/wiretest"
	"github.com/popvote/popvote/libs/sms"
)

// The vector by which Amazon tests the verification in its own library (aws-sdk-java-v2, services-custom/
// sns-message-manager, test-notification-signature-v2.json and the certificate beside it).
const (
	vectorTopic       = "arn:aws:sns:us-west-2:131990247566:dongie-standard-topic"
	vectorCertificate = "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem"
	vector            = `{
  "Type" : "Notification",
  "MessageId" : "9d2c5580-b61d-550c-8583-37a582870907",
  "TopicArn" : "arn:aws:sns:us-west-2:131990247566:dongie-standard-topic",
  "Message" : "This message uses signature version 2.",
  "Timestamp" : "2026-03-06T20:00:26.893Z",
  "SignatureVersion" : "2",
  "Signature" : "kGNJ7FIM5DJxRv9bdoSJBty2WHpADFWrJ0ZQU/A2sALy6tBE5hqfUvPRlklTJ+PACFMguoFOO7W6ac/Bs4gR+JBRFhx4598X8/HWzrmaLrtB2f7nzViHbpzYN+u+OewXhxjj2lNsu0bLKv6fogkACytDIOhjZylbfJoPphDYAB7T3Ila7u+K3m2wLHH4k1cPYKyBf5FI/kAoQAVsY6qFHeb6CWfHsdM98I2gwyEvwJSzW0iyYBfqckmthQwH3Ex53jrhQlZylXFDYmstSJAdvbLeGqIUxKyk+O25wYgBjbbbeR+2qE2UCGEQrk1Bq018wmTxdHZmDhoBjJXiGmFkfg==",
  "SigningCertURL" : "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem",
  "UnsubscribeURL" : "https://sns.us-west-2.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=arn:aws:sns:us-west-2:131990247566:dongie-standard-topic:b24e11a2-06bd-4e73-aa29-0ed2de3b41b5"
}`
	vectorPEM = `-----BEGIN CERTIFICATE-----
MIIFxTCCBK2gAwIBAgIQBkyRNHAyygLkObkxH5ju+zANBgkqhkiG9w0BAQsFADA8
MQswCQYDVQQGEwJVUzEPMA0GA1UEChMGQW1hem9uMRwwGgYDVQQDExNBbWF6b24g
UlNBIDIwNDggTTAxMB4XDTI1MTExMDAwMDAwMFoXDTI2MTAxNDIzNTk1OVowHDEa
MBgGA1UEAxMRc25zLmFtYXpvbmF3cy5jb20wggEiMA0GCSqGSIb3DQEBAQUAA4IB
DwAwggEKAoIBAQChbVNQ+DEaT5WN+l+bg0iEeF666Z6LDFc1KJr4lNl0odcXQSsk
KsZYCMVdp4I/Ikk9zWyckRTMkmQGYimpD+bTsMCP5C/sJIU0E9Y2OXjjl5Videkq
qnRL9VdE5N41Rvks7S/5MpYcSmCsmaHfwcv82Gvx2zm9CrA5Xu7K2ZqhzRQPCRSP
mHTHQr4ED63ujE+qTpPgQZ0TvgmcrAc08Z75Z7Zzs17aTNc3YhAtQx9WowN8uiHk
kgc+ONNdtwKvWZNmnbmxMHYtYc291WCP1K1Nh4TV5XNyjIebzQKDrqTCN0ItAr1x
e6Bl3BYS3SG9XHAy0q3ekITzQsKypcuaK6dTAgMBAAGjggLhMIIC3TAfBgNVHSME
GDAWgBSBuA5jiokSGOX6OztQlZ/m5ZAThTAdBgNVHQ4EFgQUBQEUzzzuVJAKzAlR
d0Q//W6HvZUwHAYDVR0RBBUwE4IRc25zLmFtYXpvbmF3cy5jb20wEwYDVR0gBAww
CjAIBgZngQwBAgEwDgYDVR0PAQH/BAQDAgWgMBMGA1UdJQQMMAoGCCsGAQUFBwMB
MDsGA1UdHwQ0MDIwMKAuoCyGKmh0dHA6Ly9jcmwucjJtMDEuYW1hem9udHJ1c3Qu
Y29tL3IybTAxLmNybDB1BggrBgEFBQcBAQRpMGcwLQYIKwYBBQUHMAGGIWh0dHA6
Ly9vY3NwLnIybTAxLmFtYXpvbnRydXN0LmNvbTA2BggrBgEFBQcwAoYqaHR0cDov
L2NydC5yMm0wMS5hbWF6b250cnVzdC5jb20vcjJtMDEuY2VyMAwGA1UdEwEB/wQC
MAAwggF/BgorBgEEAdZ5AgQCBIIBbwSCAWsBaQB3ANdtfRDRp/V3wsfpX9cAv/mC
yTNaZeHQswFzF8DIxWl3AAABmnAb33MAAAQDAEgwRgIhANXAgMEZWU326cqxqwnf
ntD0XcBjRbmvVMOp3hZ8boPXAiEAkI3NTMXcdLCChHak1ipOae7K7r3spMGUMk6Q
cEUKqBEAdgDCMX5XRRmjRe5/ON6ykEHrx8IhWiK/f9W1rXaa2Q5SzQAAAZpwG9+u
AAAEAwBHMEUCIQD+Qyok8NYaFuQkccW+XIMmxHxj6Yka2wjtg6UN/tbU5wIgcp4z
8MyC/dUfeLRuHAt0owtVgEu7xXqrMBOYlbXrfC4AdgDLOPcViXyEoURfW8Hd+8lu
8ppZzUcKaQWFsMsUwxRY5wAAAZpwG9+yAAAEAwBHMEUCIQCmu1jQUG9A2br7OqwM
FvQXtBX10yIvvDa6a2Ov1Zgg6gIgKlqRvN6WhX0pSHAN2bKmjRwIUI3X9kjS/A/m
DYULaV4wDQYJKoZIhvcNAQELBQADggEBAIbTQWQhqrG6SzwLq79tKCpI0aL0xlD+
/jrGPxpwTlK7rtAArHiEVh/bsmwLYRlIxPBiU+NE/kqeT0lhJA6/e3X3KRmnpJ6u
Z70PJGYwmZbSRsFom0vGFBMncX0qYx1iD0dooPeAkkSnM5j81rBh+FepV3HfF+tA
9gaglWLsU7Z/A0fdn9D32UPreVHloOut5EyEinvXRUAWZco9CRloyEXJr7Mxq9MZ
vYOK+5wuSPHnPij+fGlQsPxEgoTnCmU03PqNS49kL13jjEnYYdijqL+4rfHtuZbc
4hlVoZfttwg8wD3m5brhQ+GkBBNYN8HFtdVy/BnFi+SPJqv6BgB3Y00=
-----END CERTIFICATE-----
`
)

// amazon answers for Amazon's hosts: pages by their URLs.
type amazon struct {
	mu    sync.Mutex // guards those below
	pages map[string]string
	asked []string
	down  bool
}

func (a *amazon) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, r.URL.String())
	if a.down {
		return nil, errors.New("down")
	}
	response := &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody, Request: r, Header: http.Header{}}
	if page, ok := a.pages[r.URL.String()]; ok {
		response.StatusCode, response.Body = http.StatusOK, io.NopCloser(strings.NewReader(page))
	}
	return response, nil
}

func serve(p *Provider, body string) int {
	w := httptest.NewRecorder()
	p.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
	return w.Code
}

func TestPublishedVector(t *testing.T) {
	net := &amazon{pages: map[string]string{vectorCertificate: vectorPEM}}
	c := config(t)
	c.Topics = []string{vectorTopic}
	p, _ := open(t, c, &http.Client{Transport: net})
	at := time.Date(2026, 3, 6, 20, 0, 30, 0, time.UTC)
	now := at
	p.deps.Clock, p.keys.clock = func() time.Time { return now }, func() time.Time { return now }
	read := func(body string) error {
		_, err := p.read(httptest.NewRequest(http.MethodPost, "/", nil), []byte(body))
		return err
	}
	// The signature holds; what it says is nothing of ours.
	if err := read(vector); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("the vector: %v", err)
	}
	for name, body := range map[string]string{
		"another text":    strings.Replace(vector, "version 2.", "version 3.", 1),
		"another id":      strings.Replace(vector, "9d2c5580", "9d2c5581", 1),
		"a subject":       strings.Replace(vector, `"Timestamp"`, `"Subject":"","Timestamp"`, 1),
		"another version": strings.Replace(vector, `"SignatureVersion" : "2"`, `"SignatureVersion" : "1"`, 1),
		"another type":    strings.Replace(vector, `"Notification"`, `"SubscriptionConfirmation"`, 1),
	} {
		if err := read(body); !errors.Is(err, wire.ErrForged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	now = at.Add(5 * time.Minute)
	if err := read(vector); !errors.Is(err, wire.ErrStale) {
		t.Errorf("five minutes on: %v", err)
	}
}

const certificateURL = "https://sns.ap-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"

var newKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func certificate(t testing.TB, name string, until time.Time) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: wiretest.Now.Add(-time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &newKey().PublicKey, newKey())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// sns is Amazon with a certificate of ours.
func sns(t testing.TB) *amazon {
	return &amazon{pages: map[string]string{certificateURL: certificate(t, "sns-signing.ap-east-1.amazonaws.com", wiretest.Now.Add(time.Hour))}}
}

func notification(message string) envelope {
	return envelope{
		Type: typeNotification, MessageID: "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", TopicARN: topic, Message: message, Timestamp: "2026-11-22T09:59:59.123Z",
		SignatureVersion: "2", SigningCertURL: certificateURL,
	}
}

// send signs an envelope, as SNS does, and writes it.
func send(t testing.TB, e envelope) string {
	t.Helper()
	sum := sha256.Sum256(e.signed())
	signature, err := rsa.SignPKCS1v15(rand.Reader, newKey(), crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	e.Signature = base64.StdEncoding.EncodeToString(signature)
	body, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// twoWay is the documentation's example of what a voter texted, with other numbers.
const twoWay = `{"originationNumber":"+85291234567","destinationNumber":"+85264500000","messageKeyword":"VOTE","messageBody":"VOTE AB0D1234",` +
	`"inboundMessageId":"cae173d2-66b9-564c-8309-21f858e9fb84","previousPublishedMessageId":"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}`

func TestItTakesWhatVotersText(t *testing.T) {
	net := sns(t)
	p, everybody := open(t, config(t), &http.Client{Transport: net})
	body := send(t, notification(twoWay))
	for range 3 { // two are replays
		if got := serve(p, body); got != http.StatusNoContent {
			t.Fatalf("answered %d: %s", got, everybody.Log())
		}
	}
	in, receipts := everybody.Take()
	want := sms.Inbound{
		From: "+85291234567", To: "+85264500000", Text: "VOTE AB0D1234", ReceivedAt: wiretest.Now.Add(-877 * time.Millisecond),
		ProviderID: "cae173d2-66b9-564c-8309-21f858e9fb84",
	}
	if len(in) != 1 || in[0] != want || len(receipts) != 0 {
		t.Errorf("%+v, %v", in, receipts)
	}
	if len(net.asked) != 1 {
		t.Errorf("the certificate was fetched %d times", len(net.asked))
	}
	wiretest.Private(t, everybody.Log())
}

func TestItTakesReceipts(t *testing.T) {
	p, everybody := open(t, config(t), &http.Client{Transport: sns(t)})
	n := 0
	for kind, want := range states {
		n++
		e := notification(fmt.Sprintf(`{"eventType":%q,"eventVersion":"1.0","eventTimestamp":1795341599000,"isFinal":true,"originationPhoneNumber":"PopVote",`+
			`"destinationPhoneNumber":"+85291234567","messageId":%q,"messageStatus":"x","context":{"account":"bar"},"totalMessageParts":1}`, kind, ref))
		e.MessageID = fmt.Sprint(n)
		if got := serve(p, send(t, e)); got != http.StatusNoContent {
			t.Fatalf("%s: answered %d", kind, got)
		}
		in, receipts := everybody.Take()
		receipt := provider.Receipt{Provider: "route", Ref: ref, To: "+85291234567", State: want, Code: kind, At: wiretest.Now.Add(-time.Second)}
		if len(in) != 0 || len(receipts) != 1 || receipts[0] != receipt {
			t.Errorf("%s: %v, want %v", kind, receipts, receipt)
		}
	}
}

func subscription() envelope {
	e := notification("You have chosen to subscribe to the topic.")
	e.Type, e.Token = typeSubscribed, "2336412f37fb687f5d51e6e2425929f52e8e"
	e.SubscribeURL = "https://sns.ap-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + topic + "&Token=" + e.Token
	return e
}

func TestItConfirmsASubscriptionOfItsTopics(t *testing.T) {
	net := sns(t)
	p, everybody := open(t, config(t), &http.Client{Transport: net})
	e := subscription()
	if got := serve(p, send(t, e)); got != http.StatusServiceUnavailable { // Amazon does not know the page
		t.Errorf("answered %d", got)
	}
	net.pages[e.SubscribeURL] = "<ConfirmSubscriptionResponse/>"
	for range 2 {
		if got := serve(p, send(t, e)); got != http.StatusNoContent {
			t.Errorf("answered %d", got)
		}
	}
	if len(net.asked) != 3 || net.asked[2] != e.SubscribeURL { // the certificate, and twice the page
		t.Errorf("asked %v", net.asked)
	}
	if strings.Contains(everybody.Log(), e.Token) {
		t.Error("its log holds the token")
	}
	net.asked = nil
	for name, change := range map[string]func(*envelope){
		"another host": func(e *envelope) { e.SubscribeURL = strings.Replace(e.SubscribeURL, "ap-east-1", "us-east-1", 1) },
		"our own host": func(e *envelope) {
			e.SubscribeURL = "https://127.0.0.1/?Action=ConfirmSubscription&TopicArn=" + topic + "&Token=" + e.Token
		},
		"plain HTTP":     func(e *envelope) { e.SubscribeURL = strings.Replace(e.SubscribeURL, "https", "http", 1) },
		"another action": func(e *envelope) { e.SubscribeURL = strings.Replace(e.SubscribeURL, "Confirm", "Delete", 1) },
		"another topic":  func(e *envelope) { e.SubscribeURL = strings.Replace(e.SubscribeURL, "popvote-sms", "other", 1) },
		"another token":  func(e *envelope) { e.Token = "x" },
	} {
		e := subscription()
		e.MessageID = name
		change(&e)
		if got := serve(p, send(t, e)); got != http.StatusBadRequest {
			t.Errorf("%s: answered %d", name, got)
		}
	}
	if len(net.asked) != 0 {
		t.Errorf("asked %v", net.asked)
	}
}

func TestAnEndOfASubscriptionIsSaid(t *testing.T) {
	p, everybody := open(t, config(t), &http.Client{Transport: sns(t)})
	e := subscription()
	e.Type = typeUnsubscribed
	if got := serve(p, send(t, e)); got != http.StatusNoContent || !strings.Contains(everybody.Log(), "does not bring SMS") {
		t.Errorf("answered %d: %s", got, everybody.Log())
	}
}

func TestItBelievesNobodyElse(t *testing.T) {
	p, everybody := open(t, config(t), &http.Client{Transport: sns(t)})
	for name, one := range map[string]struct {
		want   int
		change func(*envelope)
	}{
		"another topic":            {403, func(e *envelope) { e.TopicARN = strings.Replace(topic, "popvote", "others", 1) }},
		"signature version 1":      {403, func(e *envelope) { e.SignatureVersion = "1" }},
		"a certificate elsewhere":  {403, func(e *envelope) { e.SigningCertURL = strings.Replace(certificateURL, "sns.ap-east-1", "evil.s3", 1) }},
		"of another region":        {403, func(e *envelope) { e.SigningCertURL = strings.Replace(certificateURL, "ap-east-1", "us-east-1", 1) }},
		"behind a user":            {403, func(e *envelope) { e.SigningCertURL = strings.Replace(certificateURL, "https://", "https://x@", 1) }},
		"by plain HTTP":            {403, func(e *envelope) { e.SigningCertURL = strings.Replace(certificateURL, "https", "http", 1) }},
		"of another path":          {403, func(e *envelope) { e.SigningCertURL = "https://sns.ap-east-1.amazonaws.com/?Action=GetTopic.pem" }},
		"no URL":                   {403, func(e *envelope) { e.SigningCertURL = "" }},
		"long ago":                 {403, func(e *envelope) { e.Timestamp = "2026-11-22T09:54:59Z" }},
		"some day":                 {403, func(e *envelope) { e.Timestamp = "2026-11-22T10:05:01Z" }},
		"no time":                  {403, func(e *envelope) { e.Timestamp = "" }},
		"no id":                    {400, func(e *envelope) { e.MessageID = "" }},
		"another type":             {400, func(e *envelope) { e.Type = "Greeting" }},
		"no JSON":                  {400, func(e *envelope) { e.Message = "hello" }},
		"JSON that is nothing":     {400, func(e *envelope) { e.Message = "{}" }},
		"an event of no message":   {400, func(e *envelope) { e.Message = `{"eventType":"TEXT_SENT"}` }},
		"an event of another kind": {204, func(e *envelope) { e.Message = `{"eventType":"VOICE_COMPLETED","messageId":"x"}` }},
	} {
		e := notification(twoWay)
		e.MessageID = name
		one.change(&e)
		if got := serve(p, send(t, e)); got != one.want {
			t.Errorf("%s: answered %d, want %d", name, got, one.want)
		}
	}
	body := send(t, notification(twoWay))
	for name, altered := range map[string]string{
		"another text": strings.Replace(body, "AB0D1234", "AB0D1235", 1),
		"no signature": strings.Replace(body, `"Signature":"`, `"Signature":"","Was":"`, 1),
		"no base64":    strings.Replace(body, `"Signature":"`, `"Signature":"*`, 1),
		"an array":     "[" + body + "]",
	} {
		if got := serve(p, altered); got != http.StatusForbidden {
			t.Errorf("%s: answered %d", name, got)
		}
	}
	if in, receipts := everybody.Take(); len(in)+len(receipts) != 0 {
		t.Error("it believed something")
	}
	wiretest.Private(t, everybody.Log())
}

func TestACertificateIsGoodForSNSNow(t *testing.T) {
	for name, page := range map[string]string{
		"expired":        certificate(t, "sns.amazonaws.com", wiretest.Now.Add(-time.Second)),
		"of others":      certificate(t, "evil.example", wiretest.Now.Add(time.Hour)),
		"no PEM":         "hello",
		"another PEM":    "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n",
		"no certificate": "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
	} {
		p, _ := open(t, config(t), &http.Client{Transport: &amazon{pages: map[string]string{certificateURL: page}}})
		if got := serve(p, send(t, notification(twoWay))); got != http.StatusForbidden {
			t.Errorf("%s: answered %d", name, got)
		}
	}
}

// TestForgedCallsFetchFewCertificates: each may name another, and none keeps those that are known from counting.
func TestForgedCallsFetchFewCertificates(t *testing.T) {
	net := sns(t)
	p, _ := open(t, config(t), &http.Client{Transport: net})
	now := wiretest.Now
	p.keys.clock = func() time.Time { return now }
	if got := serve(p, send(t, notification(twoWay))); got != http.StatusNoContent {
		t.Fatalf("answered %d", got)
	}
	now = now.Add(fetchEvery)
	for i := range 100 {
		e := notification(twoWay)
		e.SigningCertURL = fmt.Sprintf("https://sns.ap-east-1.amazonaws.com/SimpleNotificationService-%032x.pem", i)
		want := http.StatusServiceUnavailable
		if i == 0 {
			want = http.StatusForbidden // it was looked for, and is not there
		}
		if got := serve(p, send(t, e)); got != want {
			t.Fatalf("answered %d", got)
		}
	}
	e := notification(twoWay)
	e.MessageID = "another"
	if got := serve(p, send(t, e)); got != http.StatusNoContent {
		t.Errorf("answered %d", got)
	}
	if len(net.asked) != 2 {
		t.Errorf("%d were fetched", len(net.asked))
	}
}

func TestWhatCouldNotBeCheckedComesAgain(t *testing.T) {
	net := sns(t)
	net.down = true
	p, everybody := open(t, config(t), &http.Client{Transport: net})
	if got := serve(p, send(t, notification(twoWay))); got != http.StatusServiceUnavailable {
		t.Errorf("answered %d", got)
	}
	if in, _ := everybody.Take(); len(in) != 0 {
		t.Error("it was believed")
	}
}

func TestWithoutTopicsNobodyCalls(t *testing.T) {
	c := config(t)
	c.Topics = nil
	p, _ := open(t, c, &http.Client{Transport: sns(t)})
	if got := serve(p, send(t, notification(twoWay))); got != http.StatusNotFound {
		t.Errorf("answered %d", got)
	}
}

func FuzzCalls(f *testing.F) {
	c := config(f)
	c.Topics = append(c.Topics, vectorTopic)
	p, everybody := open(f, c, &http.Client{Transport: sns(f)})
	f.Add(vector, twoWay)
	f.Add(strings.Replace(vector, vectorTopic, topic, 1), `{"eventType":"TEXT_SENT","messageId":"x","eventTimestamp":-1}`)
	f.Add(`{"Type":1}`, `{"eventTimestamp":1e99}`)
	f.Fuzz(func(t *testing.T, body, message string) {
		if got := serve(p, body); got/100 != 4 && got != http.StatusServiceUnavailable {
			t.Fatalf("answered %d", got)
		}
		if in, receipts := everybody.Take(); len(in)+len(receipts) != 0 {
			t.Fatal("it was believed")
		}
		// What comes behind the signature must hold against anything, too.
		if call, err := p.told(t.Context(), notification(message), wiretest.Now, "sns.ap-east-1.amazonaws.com"); err == nil && len(call.Messages)+len(call.Receipts) > 1 {
			t.Fatalf("%+v", call)
		}
	})
}

package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/redistest"
	"github.com/popvote/popvote/libs/service/servicetest"
	"github.com/popvote/popvote/libs/sms"
	"github.com/popvote/popvote/libs/verification"
)

// company is a provider that speaks HTTP.
type company struct {
	*httptest.Server

	mu    sync.Mutex // guards texts
	texts []string
}

// newCompany starts one that answers so once it has read a message.
func newCompany(t *testing.T, answer http.HandlerFunc) *company {
	t.Helper()
	c := &company{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct{ To, Text, Ref string }
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil || m.To != "+85291234567" {
			t.Errorf("it was asked to send %+v: %v", m, err)
		}
		_, _ = io.Copy(io.Discard, r.Body) // or it is not seen that the client has gone
		c.mu.Lock()
		c.texts = append(c.texts, m.Text)
		c.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *company) took() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string{}, c.texts...)
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// late answers after a while, or when nobody waits any more.
func late(after time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(after):
			says(http.StatusOK, `{"id":"1"}`)(w, r)
		case <-r.Context().Done():
		}
	}
}

// signingSecret is that of a company's calls.
const signingSecret = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// companies is a table whose first choice is bad, at half its price.
func companies(t *testing.T, bad, good string) string {
	t.Helper()
	config := "{url: 'URL', allow-networks: [127.0.0.0/8], headers: {Content-Type: application/json}, body: '{\"to\":\"{to}\",\"text\":\"{text}\",\"ref\":\"{id}\"}', " +
		"id-path: id, unavailable-pattern: no credit, signing-secret-files: [" + secretFile(t, "whsec_"+signingSecret) + "]}"
	return "currency: HKD\ngateways: 1\nspend: {hour: 100, day: 1000}\nblock-hour: 100\nroutes:\n" +
		"  - {name: bad, kind: webhook, config: " + strings.Replace(config, "URL", bad, 1) + "}\n" +
		"  - {name: good, kind: webhook, config: " + strings.Replace(config, "URL", good, 1) + "}\n" +
		"countries: [{prefix: '+852', routes: [{route: bad, weight: 1, price: 0.5}, {route: good, price: 1}]}]\n"
}

// TestAVoterGetsTheCodeWithinTenSeconds, whatever is wrong with the provider that is asked first: with at most one
// request of theirs for another SMS, always the same code, and each message paid for once, if it may have gone out.
func TestAVoterGetsTheCodeWithinTenSeconds(t *testing.T) {
	redis := redistest.Start(t)
	for name, one := range map[string]struct {
		bad http.HandlerFunc // nil for nobody there
		// asks is how often the voter has to ask, costs what is paid to the bad one.
		asks  int
		costs float64
	}{
		"dead":                         {nil, 1, 0},
		"breaks off":                   {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 2, 0.5},
		"silent":                       {late(time.Hour), 2, 0.5},
		"slow":                         {late(6 * time.Second), 2, 0.5},
		"fails":                        {says(http.StatusInternalServerError, "hunter2 +85291234567"), 2, 0.5},
		"refuses":                      {says(http.StatusServiceUnavailable, `{"error":"no credit"}`), 1, 0},
		"lies and says so in its body": {says(http.StatusOK, `{"error":"no credit"}`), 1, 0},
		"lies in words not known":      {says(http.StatusOK, `{"error":"insufficient balance"}`), 2, 0.5},
		"lies in a page":               {says(http.StatusOK, "<html>Sign in</html>"), 2, 0.5},
		"has moved":                    {says(http.StatusFound, ""), 2, 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad, good := newCompany(t, one.bad), newCompany(t, says(http.StatusOK, `{"id":"1"}`))
			if one.bad == nil {
				bad.Close()
			}
			dir := site(t)
			var errs servicetest.Output
			at, stop := servicetest.Start(t, run, 3, &errs, &errs, arguments(dir, redis.Addr(),
				"-providers", tableFile(t, companies(t, bad.URL, good.URL)), "-hooks-listen", "127.0.0.1:0")[1:]...)
			sender := sending(t, dir, at["sending"])

			const text = "123456 is your voting code."
			began, asked := time.Now(), 0
			err := sms.ErrUnknown
			for ; errors.Is(err, sms.ErrUnknown) && asked < 3; asked++ {
				err = sender.Send(t.Context(), sms.Message{
					ID: fmt.Sprint("m", asked), To: "+85291234567", Text: text, Conversation: "c", Attempt: asked, Deadline: began.Add(time.Minute),
				})
			}
			if took := time.Since(began); err != nil || asked != one.asks || took > 10*time.Second {
				t.Errorf("sent after asking %d times, %s: %v", asked, took, err)
			}
			if got := good.took(); len(got) != 1 || got[0] != text {
				t.Errorf("the good one sent %q", got)
			}
			for _, got := range bad.took() {
				if got != text {
					t.Errorf("the bad one was given %q", got)
				}
			}
			if got := len(bad.took()); one.bad != nil && got != 1 {
				t.Errorf("the bad one was asked %d times", got)
			}
			_, figures := servicetest.Get(t, "http://"+at["admin"]+"/metrics")
			for _, want := range []string{
				fmt.Sprintf(`popvote_sms_spent_total{route="bad"} %g`, one.costs), `popvote_sms_spent_total{route="good"} 1`,
				fmt.Sprintf(`popvote_sms_spent{currency="HKD",in="hour",to="all"} %g`, 1+one.costs), `popvote_sms_sent_total{outcome="sent",route="good"} 1`,
			} {
				if !strings.Contains(figures, want+"\n") {
					t.Errorf("no %s in\n%s", want, figures)
				}
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			for _, private := range []string{"9123", "123456", "hunter2"} {
				if strings.Contains(errs.String(), private) {
					t.Errorf("its log holds %q", private)
				}
			}
		})
	}
}

// TestACompanyThatSaysEverythingTwice: receipts, texts, and calls that it signs anew, which others send once more.
// Each counts once, and is answered so that it does not come again.
func TestACompanyThatSaysEverythingTwice(t *testing.T) {
	redis, dir := redistest.Start(t), site(t)
	twice := newCompany(t, says(http.StatusOK, `{"id":"sent-1"}`))
	var errs servicetest.Output
	at, stop := servicetest.Start(t, run, 3, &errs, &errs, arguments(dir, redis.Addr(),
		"-providers", tableFile(t, companies(t, twice.URL, "http://127.0.0.1:1/")), "-hooks-listen", "127.0.0.1:0")[1:]...)
	sender := sending(t, dir, at["sending"])
	if err := sender.Send(t.Context(), sms.Message{ID: "m", To: "+85291234567", Text: "123456", Deadline: time.Now().Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	stamp := time.Now().UTC().Format(time.RFC3339)
	receipt := func(state string) string {
		return `{"type":"sms.receipt","timestamp":"` + stamp + `","data":{"id":"sent-1","state":"` + state + `"}}`
	}
	text := `{"type":"sms.received","timestamp":"` + stamp + `","data":{"id":"in-1","from":"+85291234567","text":"VOTE AB0D1234"}}`
	for i, body := range []string{receipt("delivered"), receipt("accepted"), receipt("delivered"), text, text, text} {
		for range 2 { // the same call, and anew
			if got := tell(t, "http://"+at["hooks"]+"/hooks/bad", fmt.Sprint("call-", i), body); got != http.StatusNoContent {
				t.Errorf("%s: answered %d", body, got)
			}
		}
	}
	board := listening(t, redis)
	news, ended, err := board.Watch(t.Context(), verification.KeyOf(secretOf(t, dir), "+85291234567", "VOTE AB0D1234"))
	if err != nil {
		t.Fatal(err)
	}
	defer ended()
	select {
	case got := <-news:
		if got.Err != nil || got.At.UTC().Format(time.RFC3339) != stamp {
			t.Errorf("heard %+v, want the first, of %s", got, stamp)
		}
	case <-time.After(20 * time.Second):
		t.Error("the text was not heard")
	}
	_, figures := servicetest.Get(t, "http://"+at["admin"]+"/metrics")
	for _, want := range []string{
		`popvote_sms_sent_total{outcome="sent",route="bad"} 1`, `popvote_sms_spent_total{route="bad"} 0.5`, `popvote_sms_spent_total{route="good"} 0`,
		`popvote_sms_receipts_total{route="bad",state="delivered"} 1`, `popvote_sms_receipts_total{route="bad",state="accepted"} 1`,
		`popvote_sms_inbound_total{outcome="heard"} 1`, `popvote_sms_inbound_total{outcome="again"} 2`,
	} {
		if !strings.Contains(figures, want+"\n") {
			t.Errorf("no %s in\n%s", want, figures)
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// tell makes a call as a company does, by Standard Webhooks.
func tell(t *testing.T, at, id, body string) (status int) {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(signingSecret)
	if err != nil {
		t.Fatal(err)
	}
	stamp := fmt.Sprint(time.Now().Unix())
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + stamp + "." + body))
	r, err := http.NewRequest(http.MethodPost, at, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", stamp)
	r.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

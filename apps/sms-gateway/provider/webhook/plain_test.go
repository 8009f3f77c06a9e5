package webhook

import (
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

const callPassword = "hunter2-hunter2-hunter2-hunter2"

// fetched is a call as Kannel makes it.
func fetched(query string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/?"+query, nil)
	r.SetBasicAuth("kannel", callPassword)
	return r
}

func posted(form string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("kannel", callPassword)
	return r
}

const (
	texted    = "id=in-1&from=%2B85291234567&to=10850&text=VOTE+AB0D1234&time=1795341598"
	delivered = "id=m-1&state=1&time=1795341599"
)

func TestAGatewayThatCannotSign(t *testing.T) {
	p, everybody := opened(t, kannel(t), &http.Client{})
	for _, one := range []func() *http.Request{
		func() *http.Request { return fetched(texted) }, func() *http.Request { return fetched(delivered) },
	} {
		for range 3 { // two come again
			w := httptest.NewRecorder()
			p.Handler().ServeHTTP(w, one())
			if w.Code != http.StatusOK || w.Body.Len() != 0 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
				t.Fatalf("answered %d, %q", w.Code, w.Body)
			}
		}
	}
	in, receipts := everybody.Take()
	want := sms.Inbound{From: "+85291234567", To: "+10850", Text: "VOTE AB0D1234", ReceivedAt: wiretest.Now.Add(-2 * time.Second), ProviderID: "in-1"}
	if len(in) != 1 || in[0] != want {
		t.Errorf("%+v", in)
	}
	receipt := provider.Receipt{Provider: "route", Ref: "m-1", State: provider.Delivered, At: wiretest.Now.Add(-time.Second)}
	if len(receipts) != 1 || receipts[0] != receipt {
		t.Errorf("%+v", receipts)
	}
}

func TestItsStatesAreSaidByTheOperator(t *testing.T) {
	for theirs, want := range map[string]provider.State{
		"1": provider.Delivered, "2": provider.Undelivered, "4": provider.Accepted, "8": provider.Accepted, "16": provider.Rejected,
		"32": provider.Unknown, "delivered": provider.Unknown,
	} {
		p, everybody := opened(t, kannel(t), &http.Client{})
		if got := serve(p, fetched("id=m-1&code=x&state="+theirs)); got != http.StatusOK {
			t.Fatalf("%s: answered %d", theirs, got)
		}
		if _, receipts := everybody.Take(); len(receipts) != 1 || receipts[0].State != want || receipts[0].Code != "x" || !receipts[0].At.Equal(wiretest.Now) {
			t.Errorf("%s: %+v", theirs, receipts)
		}
	}
	c := kannel(t)
	c.ReceiptStates = nil
	p, everybody := opened(t, c, &http.Client{})
	if got := serve(p, posted("id=m-1&state=expired&time=2026-11-22T09:59:59Z")); got != http.StatusOK {
		t.Fatalf("answered %d", got)
	}
	if _, receipts := everybody.Take(); len(receipts) != 1 || receipts[0].State != provider.Expired || !receipts[0].At.Equal(wiretest.Now.Add(-time.Second)) {
		t.Errorf("%+v", receipts)
	}
}

func TestOnlyWhoKnowsThePasswordIsBelieved(t *testing.T) {
	p, everybody := opened(t, kannel(t), &http.Client{})
	for name, change := range map[string]func(*http.Request){
		"none":            func(r *http.Request) { r.Header.Del("Authorization") },
		"an empty one":    func(r *http.Request) { r.SetBasicAuth("kannel", "") },
		"the other one":   func(r *http.Request) { r.SetBasicAuth("kannel", "hunter2") },
		"its beginning":   func(r *http.Request) { r.SetBasicAuth("kannel", callPassword[:24]) },
		"as the user":     func(r *http.Request) { r.SetBasicAuth(callPassword, "") },
		"in a parameter":  func(r *http.Request) { r.Header.Del("Authorization"); r.URL.RawQuery += "&password=" + callPassword },
		"of another form": func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+callPassword) },
	} {
		r := fetched(texted)
		change(r)
		if got := serve(p, r); got != http.StatusForbidden {
			t.Errorf("%s: answered %d", name, got)
		}
	}
	for name, r := range map[string]*http.Request{
		"no id":                fetched(strings.Replace(texted, "in-1", "", 1)),
		"an endless id":        fetched(strings.Replace(texted, "in-1", strings.Repeat("x", 129), 1)),
		"no text":              fetched("id=1&from=%2B85291234567"),
		"no sender":            fetched("id=1&text=VOTE"),
		"two senders":          fetched(texted + "&from=%2B85261234567"),
		"both kinds":           fetched(texted + "&state=1"),
		"a code of a message":  fetched(texted + "&code=1"),
		"a receipt of a phone": fetched(delivered + "&to=10850"),
		"something else":       fetched(delivered + "&x=1"),
		"a word for a time":    fetched("id=m-1&state=1&time=yesterday"),
		"a query that is none": fetched("id=%zz"),
		"a form and a query":   func() *http.Request { r := posted(delivered); r.URL.RawQuery = "id=1"; return r }(),
		"no form":              func() *http.Request { r := posted(delivered); r.Header.Set("Content-Type", "text/plain"); return r }(),
	} {
		if got := serve(p, r); got != http.StatusBadRequest {
			t.Errorf("%s: answered %d", name, got)
		}
	}
	r := fetched(texted)
	r.Method = http.MethodPut
	if got := serve(p, r); got != http.StatusMethodNotAllowed {
		t.Errorf("PUT: answered %d", got)
	}
	if in, receipts := everybody.Take(); len(in)+len(receipts) != 0 {
		t.Error("it believed something")
	}
	wiretest.Private(t, everybody.Log())
}

// TestASignedRouteTakesNoGET: what is for gateways that can't sign is not for others.
func TestASignedRouteTakesNoGET(t *testing.T) {
	p, everybody := opened(t, api(t, "https://sms.example"), &http.Client{})
	if got := serve(p, fetched(texted)); got != http.StatusMethodNotAllowed {
		t.Errorf("GET: answered %d", got)
	}
	if got := serve(p, posted(texted)); got != http.StatusForbidden {
		t.Errorf("POST: answered %d", got)
	}
	if in, _ := everybody.Take(); len(in) != 0 {
		t.Error("it was believed")
	}
}

// TestTheCodingIsThatOfTheText: a text that GSM's alphabet has goes in it, and so in one segment.
func TestTheCodingIsThatOfTheText(t *testing.T) {
	asked := make(chan url.Values, 1)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { asked <- r.URL.Query() }))
	defer server.Close()
	p, _ := opened(t, Config{Method: http.MethodGet, URL: server.URL + "/?to={to}&text={text}&coding={coding}&dc={data-coding}"}, server.Client())
	for text, want := range map[string][2]string{
		"123456 is your voting code.\n@vote.example.hk #123456": {"0", "0"},
		"[123456] £€é":   {"0", "0"},
		"【投票】驗證碼 123456": {"2", "8"},
		"123456 `":       {"2", "8"},
	} {
		m := wiretest.Message
		m.Text = text
		if _, err := p.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if got := <-asked; got.Get("coding") != want[0] || got.Get("dc") != want[1] || got.Get("text") != text {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestWhatIsWrongWithPlainCalls(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"a password that is away":  func(c *Config) { c.CallPasswordFiles[0] += "x" },
		"a short password":         func(c *Config) { c.CallPasswordFiles[0] = wiretest.Secret(t, "hunter2") },
		"a password for no URL":    func(c *Config) { c.CallPasswordFiles[0] = wiretest.Secret(t, callPassword+"@%") },
		"a word without password":  func(c *Config) { c.CallPasswordFiles, c.ReceiptStates = nil, nil },
		"a signature besides":      func(c *Config) { c.SigningFiles = []string{wiretest.Secret(t, secret)} },
		"states without password":  func(c *Config) { c.CallPasswordFiles = nil; delete(c.Headers, "X-Kannel-DLR-Url") },
		"a state that there isn't": func(c *Config) { c.ReceiptStates["1"] = "arrived" },
	} {
		c := kannel(t)
		change(&c)
		err := c.Validate()
		if err == nil {
			t.Errorf("%s: it was taken", name)
			continue
		}
		wiretest.Private(t, err.Error())
	}
}

// FuzzPlainCalls: whoever does not know the password is believed nothing, and whatever the gateway says is one thing.
func FuzzPlainCalls(f *testing.F) {
	p, everybody := opened(f, kannel(f), &http.Client{})
	f.Add(texted, "hunter2")
	f.Add(delivered, "")
	f.Fuzz(func(t *testing.T, query, given string) {
		if given == callPassword {
			t.Skip()
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.RawQuery = query
		r.SetBasicAuth("kannel", given)
		if got := serve(p, r); got != http.StatusForbidden {
			t.Fatalf("answered %d", got)
		}
		if in, receipts := everybody.Take(); len(in)+len(receipts) != 0 {
			t.Fatal("it was believed")
		}
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		if call, err := p.toldPlainly(values); err == nil && (len(call.Messages)+len(call.Receipts) != 1 || call.Key == "") {
			t.Fatalf("%+v", call)
		}
	})
}

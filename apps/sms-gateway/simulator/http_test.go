package simulator

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/sms"
)

func do(t *testing.T, handler http.Handler, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "127.0.0.1:8082"
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		} else {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w
}

func TestATextIsSentFromAnyFormOfANumber(t *testing.T) {
	for _, from := range []string{"+85291234567", "91234567", "9123 4567", "+852 9123-4567", "９１２３４５６７"} {
		for _, to := range []string{"+85265000000", "+852 6500 0000", "65000000"} {
			gateway := &inbox{}
			body, _ := json.Marshal(map[string]string{"from": from, "to": to, "text": "VOTE AB0D1234"})
			w := do(t, working(t, gateway).Handler(), http.MethodPost, "/sms", string(body))
			var sent Message
			if err := json.Unmarshal(w.Body.Bytes(), &sent); err != nil || w.Code != http.StatusAccepted {
				t.Fatalf("from %s to %s: %d %s", from, to, w.Code, w.Body)
			}
			if len(gateway.got) != 1 || gateway.got[0].From != voter || sent.From != voter.Reveal() || sent.To != inbound.Reveal() {
				t.Errorf("from %s to %s: sent %+v", from, to, sent)
			}
		}
	}
}

func TestAShortCodeIsANumberToTextTo(t *testing.T) {
	gateway := &inbox{}
	s, err := New(Config{Embedded: true, Addresses: []string{"[::1]:1"}, InboundNumber: "6500"}, deps(gateway))
	if err != nil {
		t.Fatal(err)
	}
	w := do(t, s.Handler(), http.MethodPost, "/sms", `{"from":"91234567","to":"6500","text":"x"}`)
	if w.Code != http.StatusAccepted || len(gateway.got) != 1 || gateway.got[0].To != "6500" {
		t.Errorf("%d %s, the gateway got %+v", w.Code, w.Body, gateway.got)
	}
}

func TestABadTextIsRefusedAndNotSent(t *testing.T) {
	const good = `"from":"91234567","to":"+85265000000"`
	for name, one := range map[string]struct {
		body, kind string
		status     int
		code       string
	}{
		"empty":           {"", "application/json", 400, "malformed-json"},
		"not JSON":        {"from=1", "application/json", 400, "malformed-json"},
		"a list":          {`[]`, "application/json", 400, "invalid-field"},
		"cut short":       {`{` + good + `,"text":"x"`, "application/json", 400, "malformed-json"},
		"something after": {`{` + good + `,"text":"x"}{}`, "application/json", 400, "malformed-json"},
		"unknown member":  {`{` + good + `,"text":"x","lang":"en"}`, "application/json", 400, "unknown-field"},
		"other case":      {`{` + good + `,"Text":"x"}`, "application/json", 400, "unknown-field"},
		"member twice":    {`{` + good + `,"text":"x","text":"y"}`, "application/json", 400, "duplicate-field"},
		"member missing":  {`{` + good + `}`, "application/json", 0, "invalid-field"},
		"null":            {`{` + good + `,"text":null}`, "application/json", 0, "invalid-field"},
		"number as text":  {`{` + good + `,"text":1}`, "application/json", 0, "invalid-field"},
		"no text":         {`{` + good + `,"text":""}`, "application/json", 0, "invalid-field"},
		"long text":       {`{` + good + `,"text":"` + strings.Repeat("x", 2000) + `"}`, "application/json", 0, "invalid-field"},
		"too large":       {`{` + good + `,"text":"` + strings.Repeat("x", 9000) + `"}`, "application/json", 413, "body-too-large"},
		"landline":        {`{"from":"21234567","to":"+85265000000","text":"x"}`, "application/json", 0, "phone-invalid"},
		"no number":       {`{"from":"PopVote","to":"+85265000000","text":"x"}`, "application/json", 0, "phone-invalid"},
		"to nobody":       {`{"from":"91234567","to":"","text":"x"}`, "application/json", 0, "phone-invalid"},
		"a form":          {`from=1`, "application/x-www-form-urlencoded", 415, "wrong-content-type"},
		"plain text":      {`{` + good + `,"text":"x"}`, "text/plain", 415, "wrong-content-type"},
	} {
		gateway := &inbox{}
		w := do(t, working(t, gateway).Handler(), http.MethodPost, "/sms", one.body, "Content-Type", one.kind)
		var document struct {
			Code, Effect string
			Status       int
		}
		if err := json.Unmarshal(w.Body.Bytes(), &document); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if document.Code != one.code || document.Effect != "not_applied" || document.Status != w.Code || w.Code/100 != 4 ||
			one.status != 0 && w.Code != one.status || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
		if len(gateway.got) != 0 {
			t.Errorf("%s: it was sent", name)
		}
	}
}

func TestAGatewayThatFailsIsSaid(t *testing.T) {
	w := do(t, working(t, &inbox{fail: errors.New("the board is away")}).Handler(), http.MethodPost, "/sms",
		`{"from":"91234567","to":"+85265000000","text":"VOTE AB0D1234"}`)
	if w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "board") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func messages(t *testing.T, w *httptest.ResponseRecorder) []Message {
	t.Helper()
	var body struct{ Messages []Message }
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != http.StatusOK || body.Messages == nil {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return body.Messages
}

func TestAHandsetShowsItsMessagesNewestLast(t *testing.T) {
	s := working(t, &inbox{})
	h := s.Handler()
	if got := messages(t, do(t, h, http.MethodGet, "/sms?to=91234567", "")); len(got) != 0 {
		t.Errorf("a new handset has %+v", got)
	}
	for _, id := range []string{"1", "2"} {
		if err := s.Send(t.Context(), sms.Message{ID: id, To: voter, Text: "text " + id}); err != nil {
			t.Fatal(err)
		}
	}
	got := messages(t, do(t, h, http.MethodGet, "/sms?to=%2B852+9123+4567", ""))
	if len(got) != 2 || got[0].Text != "text 1" || got[1].Text != "text 2" {
		t.Fatalf("got %+v", got)
	}
	later := messages(t, do(t, h, http.MethodGet, "/sms?to=91234567&after="+strconv.FormatInt(got[0].Number, 10), ""))
	if len(later) != 1 || later[0].ID != "2" {
		t.Errorf("after the first: %+v", later)
	}
	for _, query := range []string{"", "to=abc", "to=91234567&after=x", "to=91234567&wait=-1"} {
		if w := do(t, h, http.MethodGet, "/sms?"+query, ""); w.Code/100 != 4 {
			t.Errorf("?%s: %d", query, w.Code)
		}
	}
}

func TestALongPollEndsWithTheMessage(t *testing.T) {
	s := working(t, &inbox{})
	go func() {
		time.Sleep(20 * time.Millisecond)
		_ = s.Send(t.Context(), sms.Message{ID: "1", To: voter, Text: "123456"})
	}()
	if got := messages(t, do(t, s.Handler(), http.MethodGet, "/sms?to=91234567&wait=20", "")); len(got) != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestAStreamShowsMessagesAtOnceAndGoesOnWhereItWas(t *testing.T) {
	s := working(t, &inbox{})
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	if err := s.Send(t.Context(), sms.Message{ID: "1", To: voter, Text: "before"}); err != nil {
		t.Fatal(err)
	}
	open := func(last string) *bufio.Scanner {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/sms?to=91234567", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/event-stream")
		r.Header.Set("Last-Event-ID", last)
		w, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.Body.Close() })
		return bufio.NewScanner(w.Body)
	}
	next := func(stream *bufio.Scanner) (m Message) {
		for stream.Scan() {
			if data, ok := strings.CutPrefix(stream.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(data), &m); err != nil {
					t.Fatal(err)
				}
				return m
			}
		}
		t.Fatalf("the stream ended: %v", stream.Err())
		return m
	}
	first := open("")
	before := next(first)
	if before.Text != "before" {
		t.Errorf("got %+v", before)
	}
	if err := s.Send(t.Context(), sms.Message{ID: "2", To: voter, Text: "after\nnow"}); err != nil {
		t.Fatal(err)
	}
	if got := next(first); got.Text != "after\nnow" {
		t.Errorf("got %+v", got)
	}
	if got := next(open(strconv.FormatInt(before.Number, 10))); got.Text != "after\nnow" {
		t.Errorf("after a lost connection: %+v", got)
	}
}

func TestThePageIsSelfContainedAndFilledIn(t *testing.T) {
	h := working(t, &inbox{}).Handler()
	w := do(t, h, http.MethodGet, "/", "")
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `data-inbound="&#43;85265000000"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	policy := w.Header().Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy is without %q: %s", want, policy)
		}
	}
	for path, kind := range map[string]string{"/handset.css": "text/css", "/handset.js": "text/javascript", "/words.js": "text/javascript"} {
		w := do(t, h, http.MethodGet, path, "")
		if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), kind) {
			t.Errorf("%s: %d %s", path, w.Code, w.Header().Get("Content-Type"))
		}
		if regexp.MustCompile(`https?://`).Match(w.Body.Bytes()) {
			t.Errorf("%s refers to another site", path)
		}
	}
	if w := do(t, h, http.MethodGet, "/page/index.html", ""); w.Code != http.StatusNotFound {
		t.Errorf("/page/index.html: %d", w.Code)
	}
}

func TestThePageSaysTheSameInEachLanguage(t *testing.T) {
	html, err := pageFiles.ReadFile("page/index.html")
	if err != nil {
		t.Fatal(err)
	}
	script, err := pageFiles.ReadFile("page/words.js")
	if err != nil {
		t.Fatal(err)
	}
	languages := strings.Split(string(script), "\n  \"")[1:]
	if len(languages) != 3 {
		t.Fatalf("%d languages", len(languages))
	}
	keys := func(language string) string {
		var found []string
		for _, match := range regexp.MustCompile(`(?m)^    (\w+):`).FindAllStringSubmatch(language, -1) {
			found = append(found, match[1])
		}
		return strings.Join(found, " ")
	}
	for _, language := range languages[1:] {
		if keys(language) != keys(languages[0]) {
			t.Errorf("words differ:\n%s\n%s", keys(language), keys(languages[0]))
		}
	}
	// What the page says before its script runs is what the script says in English.
	for _, match := range regexp.MustCompile(`data-word="(\w+)"[^>]*>([^<]*)<`).FindAllStringSubmatch(string(html), -1) {
		if !strings.Contains(languages[0], match[1]+": \""+match[2]+"\"") {
			t.Errorf("%s is %q in the page, and not in words.js", match[1], match[2])
		}
	}
}

func TestOtherSitesAreKeptOut(t *testing.T) {
	h := working(t, &inbox{}).Handler()
	for host, want := range map[string]int{
		"127.0.0.1:8082": 200, "localhost:8082": 200, "[::1]:8082": 200, "localhost": 200,
		"evil.example": 421, "evil.example:8082": 421, "127.0.0.1.evil.example": 421, "": 421,
	} {
		if w := do(t, h, http.MethodGet, "/", "", "Host", host); w.Code != want {
			t.Errorf("host %q: %d, want %d", host, w.Code, want)
		}
	}
	w := do(t, h, http.MethodOptions, "/sms", "", "Origin", "https://evil.example", "Access-Control-Request-Method", "POST")
	if w.Code/100 == 2 || w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a preflight was allowed: %d %v", w.Code, w.Header())
	}
}

func TestStreamsEndWhenTheClientGoes(t *testing.T) {
	s := working(t, &inbox{})
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Handler().ServeHTTP(w, r)
		close(ended)
	}))
	t.Cleanup(server.Close)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/sms?to=91234567", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	w, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(w.Body, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	w.Body.Close()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the handler still runs")
	}
}

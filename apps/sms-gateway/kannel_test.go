package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/kanneltest"
	"github.com/popvote/popvote/apps/sms-gateway/smsc"
	"github.com/popvote/popvote/libs/redistest"
	"github.com/popvote/popvote/libs/service/servicetest"
	"github.com/popvote/popvote/libs/sms"
	"github.com/popvote/popvote/libs/verification"
)

// secretFile writes a file with a secret.
func secretFile(t *testing.T, secret string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tableFile writes a table of routes.
func tableFile(t *testing.T, table string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "routes.yaml")
	if err := os.WriteFile(path, []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// front is the proxy before -hooks-listen. It keeps what came by, and fails on demand.
type front struct {
	*httptest.Server

	mu sync.Mutex // guards those below
	to *url.URL
	// lost are calls with a text that it is to lose, deaf those whose answers.
	lost, deaf int
	calls      []*http.Request
}

func newFront(t *testing.T) *front {
	t.Helper()
	f := &front{}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// ServeHTTP implements http.Handler.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	texts := r.URL.Query().Has("text")
	to, lose, deaf := f.to, texts && f.lost > 0, texts && f.lost == 0 && f.deaf > 0
	if lose {
		f.lost--
	} else if deaf {
		f.deaf--
	}
	f.calls = append(f.calls, r.Clone(context.Background()))
	f.mu.Unlock()
	if to == nil || lose {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	if deaf {
		httputil.NewSingleHostReverseProxy(to).ServeHTTP(httptest.NewRecorder(), r)
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	httputil.NewSingleHostReverseProxy(to).ServeHTTP(w, r)
}

// leads has it lead to an address.
func (f *front) leads(address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.to = &url.URL{Scheme: "http", Host: address}
}

// fails has it lose so many calls with a text, and then answers.
func (f *front) fails(calls, answers int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost, f.deaf = calls, answers
}

// came is what came by so far.
func (f *front) came() []*http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// phones starts an SMSC, and returns where it is.
func phones(t *testing.T) (*smsc.SMSC, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := smsc.New(smsc.Config{SystemID: "popvote", Password: "s3cret"}, smsc.Deps{Clock: time.Now, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, l.Addr().String()
}

// documentedKannel is a table with the route of docs/sms.md, with the test's own files and places in it.
func documentedKannel(t *testing.T, k *kanneltest.Kannel, hooks, password string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/sms.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(page), "## Gateways that cannot sign")
	_, after, _ = strings.Cut(after, "```yaml\n")
	config, _, found := strings.Cut(after, "```")
	for _, one := range [][2]string{
		{"http://10.1.2.3:13013/cgi-bin/sendsms", k.URL()},
		{"10.1.2.0/24", "127.0.0.0/8"},
		{"https://kannel:{call-password}@sms.example", "http://kannel:{call-password}@" + strings.TrimPrefix(hooks, "http://")},
		{"[/secrets/kannel-calls]", "[" + secretFile(t, password) + "]"},
		{"/secrets/kannel", secretFile(t, kanneltest.Password)},
		{"X-Kannel-Username: popvote", "X-Kannel-Username: " + kanneltest.User},
	} {
		found = found && strings.Contains(config, one[0])
		config = strings.Replace(config, one[0], one[1], 1)
	}
	if !found {
		t.Fatal("docs/sms.md does not show the Kannel that this test knows")
	}
	return "currency: HKD\ngateways: 1\nspend: {hour: 10, day: 100}\nblock-hour: 5\nroutes:\n  - name: kannel\n    kind: webhook\n    config:\n" +
		"      " + strings.ReplaceAll(strings.TrimSpace(config), "\n", "\n      ") +
		"\ncountries: [{prefix: '+852', routes: [{route: kannel, weight: 1, price: 0.1}]}]\n"
}

// TestKannelBetweenUsAndTheNetwork: Debian's Kannel, set up as docs/sms.md has it, sends codes by SMPP, tells what
// became of them, and brings what voters text until it is taken. What comes twice counts once; what somebody else
// says in its name is not believed.
func TestKannelBetweenUsAndTheNetwork(t *testing.T) {
	const password = "a-password-of-nobody-elses"
	dir, redis := site(t), redistest.Start(t)
	network, address := phones(t)
	network.SetFaults(smsc.Faults{DuplicateReceipts: true})
	front := newFront(t)
	k := kanneltest.Start(t, kanneltest.Config{
		SMSC: address, SystemID: "popvote", Password: "s3cret",
		Inbound: "http://kannel:" + password + "@" + strings.TrimPrefix(front.URL, "http://") + "/hooks/kannel",
	})
	var errs servicetest.Output
	at, stop := servicetest.Start(t, run, 3, &errs, &errs, arguments(dir, redis.Addr(),
		"-providers", tableFile(t, documentedKannel(t, k, front.URL, password)), "-hooks-listen", "127.0.0.1:0")[1:]...)
	front.leads(at["hooks"])
	figures := "http://" + at["admin"] + "/metrics"

	sender := sending(t, dir, at["sending"])
	texts := []string{"123456 is your voting code, valid for 10 min. Do not share it.\n@vote.example.hk #123456", "【投票】驗證碼 123456，10 分鐘內有效，切勿轉告他人。\n@vote.example.hk #123456"}
	for i, text := range texts {
		if err := sender.Send(t.Context(), sms.Message{ID: fmt.Sprint("m", i), To: "+85291234567", Text: text, Deadline: time.Now().Add(10 * time.Minute)}); err != nil {
			t.Fatal(err)
		}
	}
	servicetest.Eventually(t, figures, `popvote_sms_receipts_total{route="kannel",state="delivered"} 2`)
	inbox := network.Inbox()
	for _, got := range inbox { // in any order: Kannel has several at work
		if !slices.Contains(texts, got.Text) || got.To != "+85291234567" || got.From != "PopVote" || got.Parts != 1 || got.Validity == "" {
			t.Errorf("of %q came %+v", texts, got)
		}
	}
	if len(inbox) != len(texts) || inbox[0].Text == inbox[1].Text {
		t.Errorf("of %q came %+v", texts, inbox)
	}

	// The first call is lost, and then an answer: Kannel asks again.
	front.fails(1, 1)
	if err := network.Text("+85291234567", "10850", "請投 vote ab0d 1234"); err != nil {
		t.Fatal(err)
	}
	waiting, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := hears(waiting, listening(t, redis), verification.KeyOf(secretOf(t, dir), "+85291234567", "VOTE AB0D1234")); err != nil {
		t.Fatal(err)
	}
	texted := func() (n int) {
		for _, r := range front.came() {
			if r.URL.Query().Has("text") {
				n++
			}
		}
		return n
	}
	for began := time.Now(); texted() < 3 && time.Since(began) < 20*time.Second; {
		time.Sleep(20 * time.Millisecond)
	}
	if got := texted(); got != 3 {
		t.Errorf("Kannel asked %d times", got)
	}

	// Everything once more, as Kannel said it, and as somebody else would.
	for _, r := range front.came() {
		for _, one := range []struct {
			password string
			want     int
		}{{password, http.StatusOK}, {"another-password-that-long", http.StatusForbidden}} {
			again := r.Clone(t.Context())
			again.RequestURI, again.URL.Scheme, again.URL.Host = "", "http", at["hooks"]
			again.SetBasicAuth("kannel", one.password)
			answer, err := http.DefaultClient.Do(again)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != one.want {
				t.Errorf("%s with %s: answered %d", r.URL.Path, one.password, answer.StatusCode)
			}
		}
	}
	_, body := servicetest.Get(t, figures)
	for _, want := range []string{
		`popvote_sms_sent_total{outcome="sent",route="kannel"} 2`, `popvote_sms_spent_total{route="kannel"} 0.2`,
		`popvote_sms_receipts_total{route="kannel",state="delivered"} 2`, `popvote_sms_receipts_total{route="kannel",state="accepted"} 2`,
		`popvote_sms_inbound_total{outcome="heard"} 1`, `popvote_sms_inbound_total{outcome="again"} 0`, `popvote_sms_inbound_total{outcome="failed"} 0`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	if len(network.Inbox()) != len(texts) {
		t.Error("it texts back")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	for _, private := range []string{"9123", "123456", "AB0D", password} {
		if strings.Contains(errs.String(), private) {
			t.Errorf("its log holds %q", private)
		}
	}
}

package wire_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/provider"
	"github.com/popvote/popvote/apps/sms-gateway/provider/wire"
	"github.com/popvote/popvote/apps/sms-gateway/provider/wire/wiretest"
	"github.com/popvote/popvote/libs/sms"
)

// call sends a body to a handler, and returns the status.
func call(h http.Handler, method, body string) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, "/", strings.NewReader(body)))
	return w.Code
}

// believing takes the body as the call's key, and as a message's text.
func believing(_ *http.Request, body []byte) (wire.Call, error) {
	return wire.Call{Key: string(body), Messages: []sms.Inbound{{Text: string(body)}}, Receipts: []provider.Receipt{{Ref: string(body)}}}, nil
}

func TestACallIsPassedOnOnce(t *testing.T) {
	deps, everybody := wiretest.Deps(nil)
	h := wire.NewHandler(deps, believing)
	for range 3 {
		if got := call(h, http.MethodPost, "one"); got != http.StatusNoContent {
			t.Errorf("answered %d", got)
		}
	}
	if got := call(h, http.MethodPost, "two"); got != http.StatusNoContent {
		t.Errorf("answered %d", got)
	}
	in, receipts := everybody.Take()
	if len(in) != 2 || len(receipts) != 2 || receipts[0].Provider != "route" {
		t.Errorf("got %d messages, %v", len(in), receipts)
	}
}

func TestACallThatFailedComesAgain(t *testing.T) {
	deps, everybody := wiretest.Deps(nil)
	h := wire.NewHandler(deps, believing)
	everybody.Fail(errors.New("the board is away"))
	if got := call(h, http.MethodPost, "one"); got != http.StatusServiceUnavailable {
		t.Errorf("answered %d", got)
	}
	everybody.Fail(nil)
	if got := call(h, http.MethodPost, "one"); got != http.StatusNoContent {
		t.Errorf("answered %d", got)
	}
	if in, _ := everybody.Take(); len(in) != 1 {
		t.Errorf("%d messages", len(in))
	}
}

func TestAMessageThatNobodyWantsIsDealtWith(t *testing.T) {
	deps, everybody := wiretest.Deps(nil)
	everybody.Fail(fmt.Errorf("%w: no number", sms.ErrRefused))
	if got := call(wire.NewHandler(deps, believing), http.MethodPost, "one"); got != http.StatusNoContent {
		t.Errorf("answered %d", got)
	}
}

func TestWhatIsNotBelievedIsRefusedAndSaidOnceAMinute(t *testing.T) {
	deps, everybody := wiretest.Deps(nil)
	now := wiretest.Now
	deps.Clock = func() time.Time { return now }
	var err error
	h := wire.NewHandler(deps, func(*http.Request, []byte) (wire.Call, error) { return wire.Call{}, err })
	for is, want := range map[error]int{
		wire.ErrForged: http.StatusForbidden, wire.ErrStale: http.StatusForbidden, wire.ErrMalformed: http.StatusBadRequest,
	} {
		err = is
		for range 100 {
			if got := call(h, http.MethodPost, "x"); got != want {
				t.Fatalf("%v: %d", is, got)
			}
		}
	}
	if said := strings.Count(everybody.Log(), "refused"); said != 1 {
		t.Errorf("it was said %d times", said)
	}
	now = now.Add(time.Minute)
	call(h, http.MethodPost, "x")
	if !strings.Contains(everybody.Log(), "calls=300") {
		t.Error(everybody.Log())
	}
}

func TestOnlyAPostOfSomeSizeIsRead(t *testing.T) {
	deps, _ := wiretest.Deps(nil)
	h := wire.NewHandler(deps, func(*http.Request, []byte) (wire.Call, error) {
		t.Error("it was read")
		return wire.Call{}, nil
	})
	if got := call(h, http.MethodGet, ""); got != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", got)
	}
	if got := call(h, http.MethodPost, strings.Repeat("x", 64<<10+1)); got != http.StatusRequestEntityTooLarge {
		t.Errorf("a long body: %d", got)
	}
}

func TestACallThatNamesNothingIsMalformed(t *testing.T) {
	deps, _ := wiretest.Deps(nil)
	h := wire.NewHandler(deps, func(*http.Request, []byte) (wire.Call, error) { return wire.Call{}, nil })
	if got := call(h, http.MethodPost, "x"); got != http.StatusBadRequest {
		t.Errorf("%d", got)
	}
}

func TestReplaysAreForgottenAfterTheirWindow(t *testing.T) {
	now := wiretest.Now
	r := wire.NewReplay(func() time.Time { return now })
	expect := func(when, key string, want wire.Standing) {
		t.Helper()
		got := r.Begin(key)
		if got != want {
			t.Errorf("%s: %s is %v, want %v", when, key, got, want)
		}
		if got == wire.Unseen {
			r.End(key, true)
		}
	}
	expect("at first", "one", wire.Unseen)
	now = now.Add(2 * wire.Tolerance)
	expect("later", "two", wire.Unseen)
	expect("within the window", "one", wire.Done)
	expect("within the window", "two", wire.Done)
	now = now.Add(2 * time.Minute)
	expect("past the first's window", "one", wire.Unseen)
	expect("past the first's window", "two", wire.Done)
}

// waiting receives when it is told to.
type waiting struct {
	sms.Receiver
	began, goOn chan struct{}
}

func (w waiting) Receive(ctx context.Context, in sms.Inbound) error {
	w.began <- struct{}{}
	<-w.goOn
	return w.Receiver.Receive(ctx, in)
}

func TestACallThatComesTwiceAtOnceIsPassedOnOnce(t *testing.T) {
	deps, everybody := wiretest.Deps(nil)
	slow := waiting{deps.Receiver, make(chan struct{}), make(chan struct{})}
	deps.Receiver = slow
	h := wire.NewHandler(deps, believing)
	first := make(chan int)
	go func() { first <- call(h, http.MethodPost, "one") }()
	<-slow.began
	if got := call(h, http.MethodPost, "one"); got != http.StatusServiceUnavailable {
		t.Errorf("the second was answered %d", got)
	}
	close(slow.goOn)
	if got := <-first; got != http.StatusNoContent {
		t.Errorf("the first was answered %d", got)
	}
	if got := call(h, http.MethodPost, "one"); got != http.StatusNoContent {
		t.Errorf("the third was answered %d", got)
	}
	if in, receipts := everybody.Take(); len(in) != 1 || len(receipts) != 1 {
		t.Errorf("%d messages, %d receipts", len(in), len(receipts))
	}
}

func TestFreshIsFiveMinutesEitherWay(t *testing.T) {
	for apart, want := range map[time.Duration]bool{
		0: true, 5 * time.Minute: true, -5 * time.Minute: true, 5*time.Minute + 1: false, -5*time.Minute - 1: false,
	} {
		if got := wire.Fresh(wiretest.Now.Add(apart), wiretest.Now); got != want {
			t.Errorf("%v: %v", apart, got)
		}
	}
	if wire.Fresh(time.Time{}, wiretest.Now) {
		t.Error("no time is fresh")
	}
}

func TestOnlyTheInternetIsPublic(t *testing.T) {
	for _, text := range []string{
		"127.0.0.1", "::1", "0.0.0.0", "::", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "fe80::1",
		"fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1", "255.255.255.255",
		"198.18.0.1", "192.0.2.1", "2001:db8::1", "ff02::1",
	} {
		if wire.Public(netip.MustParseAddr(text)) {
			t.Errorf("%s is public", text)
		}
	}
	for _, text := range []string{"1.1.1.1", "93.184.215.14", "2606:4700::1111", "::ffff:1.1.1.1"} {
		if !wire.Public(netip.MustParseAddr(text)) {
			t.Errorf("%s is not public", text)
		}
	}
}

// TestAnOperatorsURLReachesNoNetworkOfOurs, by whatever name: what counts is the address (T26).
func TestAnOperatorsURLReachesNoNetworkOfOurs(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer server.Close()
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	clock := func() time.Time { return wiretest.Now }
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"} {
		_, err := wire.NewClient(wire.Outside(nil, false), clock).Get(t.Context(), "http://"+net.JoinHostPort(strings.Trim(host, "[]"), port))
		if !errors.Is(err, wire.ErrAddress) || !errors.Is(err, sms.ErrUnavailable) {
			t.Errorf("%s: %v", host, err)
		}
	}
	named, err := wire.ParseNetworks([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := wire.NewClient(wire.Outside(named, true), clock).Get(t.Context(), "http://127.0.0.1:"+port); err != nil || got.Status != http.StatusNoContent {
		t.Errorf("a network that is named: %v", err)
	}
	if _, err := wire.NewClient(wire.Outside(named, true), clock).Get(t.Context(), "http://1.1.1.1:9"); !errors.Is(err, wire.ErrAddress) {
		t.Errorf("without TLS, elsewhere: %v", err)
	}
	if _, err := wire.ParseNetworks([]string{"loopback"}); err == nil {
		t.Error("a word was taken for a network")
	}
}

func TestTheWaitThatIsAskedFor(t *testing.T) {
	c := wire.NewClient(&http.Client{}, func() time.Time { return wiretest.Now })
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-7": 0, "soon": 0, "999999999": time.Hour, "99999999999999999999": 0,
		wiretest.Now.Add(time.Minute).Format(http.TimeFormat): time.Minute, wiretest.Now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		var throttled *sms.Throttled
		if err := c.Throttled(http.Header{"Retry-After": {text}}); !errors.As(err, &throttled) || throttled.After != want || !errors.Is(err, sms.ErrThrottled) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestTheTimeThatAMessageHas(t *testing.T) {
	c := wire.NewClient(&http.Client{}, func() time.Time { return wiretest.Now })
	for deadline, want := range map[time.Time]int{
		{}: 0, wiretest.Now.Add(90 * time.Second): 90, wiretest.Now.Add(time.Second): 20, wiretest.Now.Add(time.Hour): 600,
	} {
		if got := c.TTL(sms.Message{Deadline: deadline}, 20*time.Second, 10*time.Minute); got != want {
			t.Errorf("%v: %d", deadline, got)
		}
	}
}

// TestAMessageIsAskedForOnce: what net/http takes for idempotent it would send again by itself.
func TestAMessageIsAskedForOnce(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) > 1 {
			panic(http.ErrAbortHandler)
		}
	}))
	defer server.Close()
	c := wire.NewClient(server.Client(), func() time.Time { return wiretest.Now })
	send := func() error {
		_, err := c.Ask(t.Context(), wiretest.Message, func(ctx context.Context) (*http.Request, error) {
			return http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		})
		return err
	}
	if err := send(); err != nil {
		t.Fatal(err)
	}
	if err := send(); !errors.Is(err, sms.ErrUnknown) || asked.Load() != 2 {
		t.Errorf("it was asked %d times: %v", asked.Load(), err)
	}
}

func TestASecretIsAFileOfNobodyElses(t *testing.T) {
	good := wiretest.Secret(t, "hunter2")
	if got, err := wire.ReadSecret(good); err != nil || got != "hunter2" {
		t.Errorf("%q, %v", got, err)
	}
	dir := t.TempDir()
	for name, make := range map[string]func(path string) error{
		"missing":   func(string) error { return nil },
		"empty":     func(path string) error { return os.WriteFile(path, []byte("\n"), 0o600) },
		"open":      func(path string) error { return os.WriteFile(path, []byte("hunter2"), 0o644) },
		"huge":      func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("hunter2", 1<<14)), 0o600) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		path := filepath.Join(dir, name)
		if err := make(path); err != nil {
			t.Fatal(err)
		}
		_, err := wire.ReadSecret(path)
		if err == nil {
			t.Errorf("%s: it was read", name)
			continue
		}
		wiretest.Private(t, err.Error())
		if wire.CheckSecrets("", good, path) == nil {
			t.Errorf("%s: it was not checked", name)
		}
	}
	if err := wire.CheckSecrets("", good); err != nil {
		t.Error(err)
	}
}

func TestAURLHoldsNothingButWhere(t *testing.T) {
	for _, text := range []string{"", "http://a.example", "https://", "https://a:b@c.example", "https://a.example?x=1", "https://a.example?", "https://a.example#x", "://"} {
		if wire.CheckURL(text) == nil {
			t.Errorf("%q was taken", text)
		}
	}
	if err := wire.CheckURL("https://vote.example.hk/hooks/sms"); err != nil {
		t.Error(err)
	}
}

func TestANumberHasAPlus(t *testing.T) {
	for text, want := range map[string]string{
		"85291234567": "+85291234567", "+85291234567": "+85291234567", "PopVote": "PopVote", "": "", "085291": "085291", "852 9123": "852 9123",
	} {
		if got := wire.Number(text).Reveal(); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

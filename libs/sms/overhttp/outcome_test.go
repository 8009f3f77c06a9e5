package overhttp

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/sms"
	"github.com/popvote/popvote/libs/strictjson"
)

// TestOutcomesCrossTheNetwork: what a gateway's providers said is what the caller reads, and another gateway
// is asked only where that may help.
func TestOutcomesCrossTheNetwork(t *testing.T) {
	files := certificates(t)
	gateway, api := files("sms-gateway"), files("api-server")
	for name, c := range map[string]struct {
		given, read error
		next        bool
		after       time.Duration
	}{
		"permanent":          {sms.ErrPermanent, sms.ErrPermanent, false, 0},
		"blocked":            {fmt.Errorf("twice: %w", sms.ErrBlocked), sms.ErrBlocked, false, 0},
		"throttled":          {&sms.Throttled{After: 2500 * time.Millisecond}, sms.ErrThrottled, true, 3 * time.Second},
		"throttled, no wait": {&sms.Throttled{}, sms.ErrThrottled, true, 0},
		"throttled for ever": {&sms.Throttled{After: 1e6 * time.Hour}, sms.ErrThrottled, true, maxWait},
		"unavailable":        {sms.ErrUnavailable, sms.ErrUnavailable, true, 0},
		"unknown":            {sms.ErrUnknown, sms.ErrUnknown, false, 0},
		"not said":           {errors.New("a bug"), sms.ErrUnavailable, true, 0},
	} {
		said := &provider{err: c.given}
		address := serve(t, gateway, NewHandler(said, []string{"api-server"}, slog.New(slog.DiscardHandler)))
		err := at(t, api, address).Send(t.Context(), code)
		if !errors.Is(err, c.read) {
			t.Errorf("%s: read %v", name, err)
		}
		for _, o := range outcomes {
			if errors.Is(err, o.err) && !errors.Is(c.read, o.err) {
				t.Errorf("%s: also reads as %s", name, o.name)
			}
		}
		if throttled, ok := errors.AsType[*sms.Throttled](err); ok && throttled.After != c.after {
			t.Errorf("%s: wait %s, want %s", name, throttled.After, c.after)
		}
		other := &provider{err: c.given}
		second := serve(t, gateway, NewHandler(other, []string{"api-server"}, slog.New(slog.DiscardHandler)))
		_ = at(t, api, address, second).Send(t.Context(), code)
		if asked := len(said.got) + len(other.got) - 1; asked != 1 && !c.next || asked != 2 && c.next {
			t.Errorf("%s: %d gateways were asked", name, asked)
		}
	}
}

func TestAConversationArrivesWithItsAttempt(t *testing.T) {
	files, p := certificates(t), &provider{}
	address := serve(t, files("sms-gateway"), NewHandler(p, []string{"api-server"}, slog.New(slog.DiscardHandler)))
	second := code
	second.Conversation, second.Attempt = "c0nversation", 2
	if err := at(t, files("api-server"), address).Send(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if len(p.got) != 1 || p.got[0] != second {
		t.Errorf("%d messages, or another one", len(p.got))
	}
	for _, wrong := range []sms.Message{
		{ID: "m", To: "+85291234567", Conversation: strings.Repeat("c", maxConversation+1)},
		{ID: "m", To: "+85291234567", Conversation: "c", Attempt: maxAttempt + 1},
		{ID: "m", To: "+85291234567", Conversation: "c", Attempt: -1},
	} {
		if err := at(t, files("api-server"), address).Send(t.Context(), wrong); err == nil {
			t.Errorf("a conversation of %d bytes at attempt %d was taken", len(wrong.Conversation), wrong.Attempt)
		}
	}
}

// TestAGatewayOfYesterday takes exactly the members that it knows, answers with a status alone, and knows
// nothing of conversations.
func TestAGatewayOfYesterday(t *testing.T) {
	files, sent, status := certificates(t), 0, http.StatusNoContent
	mux := http.NewServeMux()
	mux.HandleFunc("POST /send", func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			ID       string    `json:"id"`
			To       string    `json:"to"`
			Text     string    `json:"text"`
			Lang     string    `json:"lang"`
			Deadline time.Time `json:"deadline"`
		}
		if err := strictjson.Read(w, r, 16<<10, &m); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		sent++
		w.WriteHeader(status)
	})
	c := at(t, files("api-server"), serve(t, files("sms-gateway"), mux))
	again := code
	again.Conversation, again.Attempt = "c", 1
	if err := c.Send(t.Context(), again); err != nil || sent != 1 {
		t.Errorf("%v, %d sent", err, sent)
	}
	status = http.StatusServiceUnavailable
	if err := c.Send(t.Context(), again); !errors.Is(err, sms.ErrUnavailable) || errors.Is(err, sms.ErrUnknown) {
		t.Errorf("one that can't send: %v", err)
	}
	c.tellAll(t.Context(), confirmations{[]string{"c"}}) // not found there; nothing comes of it
}

// confirmer is a provider that learns of conversations.
type confirmer struct {
	provider
	mu  sync.Mutex
	got []string // guarded by mu
}

func (c *confirmer) Confirm(conversation string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, conversation)
}

func (c *confirmer) heard() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(slices.Values(c.got))
}

// TestEveryGatewayHearsWhatWasConfirmed: it isn't known which of them sent the code.
func TestEveryGatewayHearsWhatWasConfirmed(t *testing.T) {
	files := certificates(t)
	one, other := &confirmer{}, &confirmer{}
	gateway := func(c *confirmer) string {
		return serve(t, files("sms-gateway"), NewHandler(c, []string{"api-server"}, slog.New(slog.DiscardHandler)))
	}
	addresses := []string{gateway(one), gateway(other)}
	panel := at(t, files("control-panel"), addresses...)
	panel.tellAll(t.Context(), confirmations{[]string{"forged"}})
	c := at(t, files("api-server"), addresses...)
	c.Confirm("")
	c.Confirm("a")
	c.Confirm("b")
	for until := time.Now().Add(20 * time.Second); len(one.heard()) < 2 || len(other.heard()) < 2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("heard %v and %v", one.heard(), other.heard())
		}
	}
	for _, g := range []*confirmer{one, other} {
		if got := g.heard(); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("heard %v", got)
		}
	}
}

// TestConfirmingNeverWaits, also while no gateway answers and there is more than anybody remembers.
func TestConfirmingNeverWaits(t *testing.T) {
	c := at(t, certificates(t)("api-server"), "127.0.0.1:1")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 10 * maxConfirmed {
			c.Confirm("c")
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("it waited")
	}
}

package server_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/poll"
)

func TestCountingTakesEnoughOfTheRightShares(t *testing.T) {
	p := newPanel(t).logIn()
	e, other := p.elect("p", poll.Closed), p.elect("other", poll.Closed)
	forged := e.shares[1]
	forged.Value = append([]byte(nil), e.shares[2].Value...)
	forgedText, _ := json.Marshal(forged)

	count := func(shares ...string) *http.Response {
		return p.post("/api/polls/p/count", with(decision("p"), "shares", shares))
	}
	body := p.want(count(e.text(t, 0)), http.StatusUnprocessableEntity, "shares-few")
	if body["have"] != 1.0 || body["need"] != 2.0 {
		t.Errorf("it takes %v, there are %v", body["need"], body["have"])
	}
	p.want(count(e.text(t, 0), e.text(t, 0)), http.StatusUnprocessableEntity, "shares-few")
	body = p.want(count(e.text(t, 0), string(forgedText)), http.StatusUnprocessableEntity, "shares-wrong")
	if !strings.Contains(body["detail"].(string), "hare 2") {
		t.Errorf("the wrong share is not named: %v", body["detail"])
	}
	p.want(count(e.text(t, 0), other.text(t, 1)), http.StatusUnprocessableEntity, "shares-mixed")
	p.want(count(other.text(t, 0), other.text(t, 1)), http.StatusUnprocessableEntity, "key-wrong")
	body = p.want(count(e.text(t, 0), "dear diary"), http.StatusUnprocessableEntity, "share-unreadable")
	if body["field"] != "/shares/1" {
		t.Errorf("the fault is at %v", body["field"])
	}
	p.want(count(), http.StatusBadRequest, "invalid-field")
	p.want(p.post("/api/polls/p/count", with(with(decision("p"), "shares", []string{e.text(t, 0)}), "key", "x")), http.StatusBadRequest, "invalid-field")
	if len(p.box.polls["p"].chain) != 0 {
		t.Error("a refused key reached the ballot server")
	}
	p.want(count(e.text(t, 2), e.text(t, 1)), http.StatusOK, "")

	for _, secret := range []string{base64.StdEncoding.EncodeToString(e.shares[0].Value), base64.StdEncoding.EncodeToString(e.scalar), hex.EncodeToString(e.scalar)} {
		if strings.Contains(p.log.String(), secret) {
			t.Error("a secret reached the log")
		}
	}
}

func TestCountingTakesTheWholeKeyInAnyOfItsForms(t *testing.T) {
	p := newPanel(t).logIn()
	for name, form := range map[string]func([]byte) string{
		"hex":       hex.EncodeToString,
		"base64url": base64.RawURLEncoding.EncodeToString,
		"base64":    base64.StdEncoding.EncodeToString,
		"jwk": func(k []byte) string {
			return `{"kty":"EC","crv":"P-256","d":"` + base64.RawURLEncoding.EncodeToString(k) + `"}`
		},
		"padded": func(k []byte) string { return "\n " + hex.EncodeToString(k) + "\n" },
	} {
		e := p.elect("p", poll.Closed)
		answer := p.post("/api/polls/p/count", with(decision("p"), "key", form(e.scalar)))
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", name, answer.StatusCode)
		}
	}
	p.elect("p", poll.Closed)
	for _, key := range []string{"short", strings.Repeat("0", 64), `{"d":7}`, `{}`} {
		if answer := p.post("/api/polls/p/count", with(decision("p"), "key", key)); answer.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", key, answer.StatusCode)
		}
	}
}

func TestACountGoesOnWhenTheTabIsClosed(t *testing.T) {
	p := newPanel(t).logIn()
	e := p.elect("p", poll.Closed)
	p.box.gate, p.box.ended = make(chan struct{}), make(chan error, 1)
	body, _ := json.Marshal(with(decision("p"), "shares", []string{e.text(t, 0), e.text(t, 1)}))

	tab, closeTab := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(tab, http.MethodPost, p.http.URL+"/api/polls/p/count", strings.NewReader(string(body)))
	r.Header.Set("Content-Type", "application/json")
	r.AddCookie(p.cookie)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if answer, err := http.DefaultClient.Do(r); err == nil {
			_ = answer.Body.Close()
		}
	}()
	eventually(t, "the count has begun", func() bool {
		return p.want(p.get("/api/polls/p"), http.StatusOK, "")["counting"] == true
	})
	p.want(p.post("/api/polls/p/count", with(decision("p"), "key", hex.EncodeToString(e.scalar))), http.StatusConflict, "counting")
	closeTab()
	<-gone
	close(p.box.gate)
	eventually(t, "the poll is counted", func() bool {
		return p.want(p.get("/api/polls/p/stats"), http.StatusOK, "")["state"] == "counted"
	})
}

func TestClosingThePanelEndsACount(t *testing.T) {
	p := newPanel(t).logIn()
	e := p.elect("p", poll.Closed)
	p.box.gate, p.box.ended = make(chan struct{}), make(chan error, 1)
	done := make(chan int, 1)
	go func() {
		done <- p.post("/api/polls/p/count", with(decision("p"), "key", hex.EncodeToString(e.scalar))).StatusCode
	}()
	eventually(t, "the count has begun", func() bool {
		return p.want(p.get("/api/polls/p"), http.StatusOK, "")["counting"] == true
	})
	p.server.Close()
	if err := <-p.box.ended; err == nil {
		t.Error("the count was not told")
	}
	if status := <-done; status != http.StatusInternalServerError {
		t.Errorf("the operator got %d", status)
	}
}

// eventually waits for what another goroutine does.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("it never came to it that %s", what)
}

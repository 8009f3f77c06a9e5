package smsc_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/kanneltest"
	"github.com/popvote/popvote/apps/sms-gateway/smsc"
)

// Somebody else's gateway, which has spoken SMPP with operators for twenty years, speaks it with ours both
// ways: HTTP to SMPP, receipts, and voters' texts back to HTTP.
func TestKannelSpeaksWithIt(t *testing.T) {
	s, address := simulate(t)
	asked := make(chan *url.URL, 100)
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL }))
	defer web.Close()
	k := kanneltest.Start(t, kanneltest.Config{SMSC: address, SystemID: "popvote", Password: "s3cret", Inbound: web.URL + "/texts"})
	wait(t, "bound", func() bool { return s.Stats().Binds == 1 })

	for i, text := range []string{"Your code: 123456\n@vote.example.hk #123456", "【投票】驗證碼123456", strings.Repeat("投", 100), strings.Repeat("polite ", 40)} {
		send(t, k.SendSMS("10850", "+85291234567", text, fmt.Sprintf("%s/report?of=%d&state=%%d", web.URL, i)))
		wait(t, "in the inbox", func() bool { return len(s.Inbox()) == i+1 })
		if got := s.Inbox()[i]; got.Text != text || got.To != "+85291234567" || got.From != "10850" {
			t.Errorf("%q became %+v", text, got)
		}
		// 8 says that the SMSC took it, 1 that it arrived; the two overtake each other.
		states := map[string]bool{}
		for !states["1"] || !states["8"] {
			u := next(t, asked)
			if u.Path != "/report" {
				t.Fatal(u)
			}
			// It tells of each part.
			if q := u.Query(); q.Get("of") == strconv.Itoa(i) {
				states[q.Get("state")] = true
			}
		}
	}

	for _, text := range []string{"VOTE AB0D1234", "請投 VOTE AB0D1234", strings.Repeat("polite words, ", 20) + "VOTE AB0D1234"} {
		if err := s.Text("+85291234567", "10850", text); err != nil {
			t.Fatal(err)
		}
		for {
			u := next(t, asked)
			if u.Path == "/report" {
				continue
			}
			if q := u.Query(); q.Get("text") != text || q.Get("from") != "+85291234567" || q.Get("to") != "10850" {
				t.Errorf("%q became %v", text, q)
			}
			break
		}
	}
	if got := s.Stats(); got.Strays > 0 || got.Nacks > 0 {
		t.Errorf("%+v", got)
	}

	// Its own idea of being asked too often: it comes again by itself.
	s.Empty()
	s.SetFaults(smsc.Faults{Throttle: 2})
	for range 2 {
		send(t, k.SendSMS("10850", "+85291234567", "123456", ""))
	}
	wait(t, "one refused", func() bool { return s.Stats().Refused == 1 })
	s.SetFaults(smsc.Faults{})
	wait(t, "both there", func() bool { return len(s.Inbox()) == 2 })
}

func send(t *testing.T, at string) {
	t.Helper()
	response, err := http.Get(at)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if said, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusAccepted {
		t.Fatalf("it says %d, %s", response.StatusCode, said)
	}
}

func next(t *testing.T, asked chan *url.URL) *url.URL {
	t.Helper()
	select {
	case u := <-asked:
		return u
	case <-time.After(20 * time.Second):
		t.Fatal("it asks nothing")
		return nil
	}
}

func wait(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 6000 {
		if holds() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("not %s within 30 s", what)
}

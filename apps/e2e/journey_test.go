package e2e_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/e2e/instance"
	"github.com/popvote/popvote/apps/e2e/voter"
	"github.com/popvote/popvote/libs/receipt"
)

// The whole vote on one machine, in both ways of proving a phone: vote, receipt, close, count with two
// of three shares, publish, verify.
func TestJourney(t *testing.T) {
	t.Parallel()
	i := demo(t)
	for n, poll := range []string{referendum, lunch} {
		t.Run(poll, func(t *testing.T) {
			w := voters(t, i, poll)
			w.HTTP.Transport = held(t, w.HTTP.Transport)
			h := record(t)
			for p := range 3 {
				person := voter.NewPerson(10+n, p)
				token, err := verified(t.Context(), w, person)
				if err != nil {
					t.Fatal(err)
				}
				e, err := w.Seal()
				if err != nil {
					t.Fatal(err)
				}
				got, err := w.Record(t.Context(), h.Recorder, person, token, e)
				if err != nil {
					t.Fatal(err)
				}
				if err := receipt.VerifyBallot(*got, e.Sealed, w.Manifest.SigningKey); err != nil {
					t.Error(err)
				}
			}
			if out := i.Do("show", poll, "-o", "json"); !strings.Contains(out, `"total": 3`) {
				t.Errorf("three have voted, and poll show says\n%s", out)
			}
			i.Do("close", poll, "--yes")
			if err := h.Closed(); err != nil {
				t.Fatal(err)
			}
			refusesSessions(t, w, voter.NewPerson(10+n, 99))
			if report := h.check(t, i.Publish(poll)); report.Box != 3 {
				t.Errorf("three voted, %d ballots in the box", report.Box)
			}
			var result struct{ Document struct{ Ballots int } }
			res, err := w.API.GetResultsWithResponse(t.Context(), poll)
			if err != nil || json.Unmarshal(res.Body, &result) != nil || result.Document.Ballots != 3 {
				t.Errorf("the published result: %v %s", err, res.Body)
			}
			audit := i.Do("audit", poll)
			for _, action := range []string{"open", "close", "count", "publish"} {
				if !strings.Contains(audit, action) {
					t.Errorf("the audit chain does not say %q:\n%s", action, audit)
				}
			}
		})
	}
	if code := i.Stop(); code != 0 {
		t.Errorf("Ctrl-C: exit code %d", code)
	}
}

// refusesSessions wants no new session in a closed poll, as soon as the API has heard of it.
func refusesSessions(t *testing.T, w *voter.World, p voter.Person) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if _, err = w.Identify(t.Context(), p); problemCode(err) == "poll-closed" {
			return
		}
	}
	t.Errorf("a session after the close: %v", err)
}

func problemCode(err error) string {
	p, ok := errors.AsType[*voter.Problem](err)
	if !ok {
		return ""
	}
	return p.Code
}

// Ctrl-C between the steps, and a new start on the same data: the voter goes on where they were,
// because the session is in the token.
func TestVotersGoOnAfterARestart(t *testing.T) {
	t.Parallel()
	i := demo(t)
	w := voters(t, i, referendum)
	h := record(t)
	person := voter.NewPerson(20, 0)
	s, err := w.Identify(t.Context(), person)
	if err != nil {
		t.Fatal(err)
	}
	if code := i.Stop(); code != 0 {
		t.Fatalf("Ctrl-C: exit code %d", code)
	}
	i = i.Restart(everybodyAtOnce...)
	token, err := w.Verify(t.Context(), person, s)
	if err != nil {
		t.Fatalf("step 2 after a restart: %v", err)
	}
	e, err := w.Seal()
	if err != nil {
		t.Fatal(err)
	}
	i.Kill()
	i = i.Restart(everybodyAtOnce...)
	first, err := w.Record(t.Context(), h.Recorder, person, token, e)
	if err != nil {
		t.Fatalf("step 3 after a kill: %v", err)
	}
	i.Stop()
	i = i.Restart(everybodyAtOnce...)
	again, err := w.Record(t.Context(), h.Recorder, person, token, e)
	if err != nil || again.Code != first.Code {
		t.Fatalf("the same ballot after a restart: %v %v", again, err)
	}
	shares, err := filepath.Glob(filepath.Join(i.Data, "trustees", "*", "share-*.json"))
	if err != nil || len(shares) != 6 {
		t.Errorf("--seed-demo again left %d shares of two polls", len(shares))
	}
	for _, path := range shares {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
	h.check(t, i.Finish(referendum))
}

// The command line works the same whether or not an instance runs.
func TestPollCommandsWithoutAnInstance(t *testing.T) {
	t.Parallel()
	i := demo(t)
	w := voters(t, i, lunch)
	h := record(t)
	person := voter.NewPerson(30, 0)
	token, err := verified(t.Context(), w, person)
	if err != nil {
		t.Fatal(err)
	}
	e, err := w.Seal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Record(t.Context(), h.Recorder, person, token, e); err != nil {
		t.Fatal(err)
	}
	i.Stop()
	h.check(t, i.Finish(lunch))
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"poll", "open", lunch}, 14},
		{[]string{"poll", "close", referendum}, 14}, // not confirmed
		{[]string{"poll", "show", "no-such-poll"}, 15},
		{[]string{"poll", "pause", referendum}, 2}, // no reason
		{[]string{"poll", "count", referendum}, 2}, // no key
		{[]string{"poll", "nonsense"}, 2},
		{[]string{"poll", "list", "-o", "xml"}, 2},
	} {
		code, _, said := instance.Run(t, popvote, append(c.args, "--data", i.Data)...)
		if code != c.code || said == "" {
			t.Errorf("popvote %s: exit code %d (%q), want %d and a sentence", strings.Join(c.args, " "), code, said, c.code)
		}
	}
}

func TestAdminListener(t *testing.T) {
	t.Parallel()
	i := demo(t)
	for path, want := range map[string]string{"/livez": "ok", "/readyz": "ready", "/version": "go1", "/metrics": "popvote_build_info"} {
		if status, body := i.Fetch(path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d\n%.300s", path, status, body)
		}
	}
	// None of it is on the public listener.
	for _, path := range []string{"/metrics", "/readyz", "/debug/pprof/"} {
		res, err := (&http.Client{Timeout: 5 * time.Second}).Get(i.Voters + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode == http.StatusOK && strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s is public", path)
		}
	}
}

// Who holds the vote says whom to tell of a weakness; if nobody is named, nothing is said.
func TestSecurityContact(t *testing.T) {
	t.Parallel()
	i := instance.Start(t, popvote, instance.Options{})
	ask := func() (int, string) {
		t.Helper()
		res, err := (&http.Client{Timeout: 5 * time.Second}).Get(i.Voters + "/.well-known/security.txt")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(text)
	}
	if status, text := ask(); status != http.StatusNotFound || strings.Contains(text, "Contact:") {
		t.Errorf("with nobody named: %d\n%.300s", status, text)
	}
	i.Stop()
	i = i.Restart("--security-contact", "https://vote.example/report")
	if status, text := ask(); status != http.StatusOK || !strings.HasPrefix(text, "Contact: https://vote.example/report\nExpires: ") {
		t.Errorf("%d\n%.300s", status, text)
	}
}

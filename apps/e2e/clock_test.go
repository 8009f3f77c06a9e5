package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/e2e/instance"
	"github.com/popvote/popvote/apps/e2e/voter"
	"github.com/popvote/popvote/libs/poll"
)

// The ballot server's clock is five minutes slow, right, five minutes fast, which is past the close, and
// slow again. From the first answer that the poll is closed nothing is acknowledged, before and after a
// restart. The API server's clock is right all along.
func TestClockSteps(t *testing.T) {
	t.Parallel()
	const id = "steps"
	step := filepath.Join(t.TempDir(), "step")
	set := func(by string) {
		t.Helper()
		// Whole or not at all: the server may be reading it.
		if err := os.WriteFile(step+".new", []byte(by), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(step+".new", step); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"CRASHPOINT_CLOCK=" + step}
	i := faultyDemo(t, env...)
	shares := shortPoll(t, i, id, 4*time.Minute)
	w := voters(t, i, id)
	h := record(t)
	people := admitted(t, w, 40)
	// next has the next voters cast, and wants each to be told the same.
	next := func(when, want string) {
		t.Helper()
		for range 5 {
			p := people[0]
			people = people[1:]
			if _, err := w.Record(t.Context(), h.Recorder, p.person, p.token, p.e); problemCode(err) != want || want == "" && err != nil {
				t.Errorf("%s: voter %s was told %v, want %q", when, p.person.N, err, want)
			}
		}
	}
	first := people[0]
	next("the clock is right", "")
	set("-5m")
	next("the clock is slow", "")
	set("0s")
	next("the clock is right again", "")
	set("5m")
	next("the clock is fast", "poll-closed")
	set("-5m")
	next("the clock is slow after the close", "poll-closed")
	time.Sleep(1500 * time.Millisecond) // by now the server has written down that the poll is closed
	next("the clock has been slow for a while", "poll-closed")
	i.Kill()
	i = i.RestartWith(env, everybodyAtOnce...)
	next("the server was started again", "poll-closed")
	if _, err := w.Record(t.Context(), h.Recorder, first.person, first.token, first.e); err != nil {
		t.Errorf("a retry of a recorded ballot: %v", err)
	}

	i.Do("count", id, "--share", filepath.Join(shares, "share-1.json"), "--share", filepath.Join(shares, "share-2.json"))
	i.Do("publish", id, "--yes")
	bundle := filepath.Join(t.TempDir(), "steps.zip")
	i.Do("bundle", id, bundle)
	if report := h.check(t, bundle); report.Box != 15 || report.Refused != 20 {
		t.Errorf("%d ballots in the box, %d refused; want 15 and 20", report.Box, report.Refused)
	}
}

// ready is a voter about to cast.
type ready struct {
	person voter.Person
	token  string
	e      *voter.Envelope
}

// admitted takes people through the first two steps.
func admitted(t *testing.T, w *voter.World, n int) []ready {
	t.Helper()
	people := make([]ready, n)
	for k := range people {
		p := voter.NewPerson(1700, k)
		token, err := verified(t.Context(), w, p)
		if err != nil {
			t.Fatal(err)
		}
		e, err := w.Seal()
		if err != nil {
			t.Fatal(err)
		}
		people[k] = ready{p, token, e}
	}
	return people
}

// shortPoll opens a poll like the sample that closes soon, and returns where its shares are.
func shortPoll(t *testing.T, i *instance.Instance, id string, lasts time.Duration) (shares string) {
	t.Helper()
	sample, err := poll.SampleFile(referendum)
	if err != nil {
		t.Fatal(err)
	}
	shares = filepath.Join(t.TempDir(), "shares")
	code, key, said := instance.Run(t, popvote, "trustee", "new", "--needed", "2", "--of", "2", "--dir", shares)
	if code != 0 {
		t.Fatalf("popvote trustee new: exit code %d\n%s", code, said)
	}
	now := time.Now()
	text := string(sample) + "\n" + key
	for was, is := range map[string]string{
		"id: " + referendum:                    "id: " + id,
		"opens_at: 2014-06-20T12:00:00+08:00":  "opens_at: " + now.Add(-time.Hour).Format(time.RFC3339),
		"closes_at: 2014-06-29T22:00:00+08:00": "closes_at: " + now.Add(lasts).Format(time.RFC3339),
	} {
		if !strings.Contains(text, was) {
			t.Fatal(fmt.Errorf("the sample has no %q", was))
		}
		text = strings.Replace(text, was, is, 1)
	}
	i.Do("apply", write(t, id+".yaml", text))
	i.Do("open", id)
	return shares
}

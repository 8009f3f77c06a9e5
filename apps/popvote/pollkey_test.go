package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/popvote/internal/datadir"
	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/trustee"
)

// closedPoll makes a data directory with a poll that is over, and whose tag keys were used. A demo has no
// audit window, unless days are given.
func closedPoll(t *testing.T, days int) (data string) {
	t.Helper()
	data = filepath.Join(t.TempDir(), "data")
	dir, err := datadir.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	box, err := openBox(t.Context(), dir, boxDeps{log: quietLog()})
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := trustee.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	sample, err := poll.Sample("lunch")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	d := sample.Seeded(key, now.Add(-time.Hour), now.Add(400*time.Millisecond))
	d.AuditWindowDays = days
	me := ballotapi.Change{Actor: "tester"}
	for _, err := range []error{box.Apply(t.Context(), *d, me), box.Move(t.Context(), "lunch", poll.Open, me), box.Move(t.Context(), "lunch", poll.Closed, me)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []keyring.Purpose{keyring.VoterTags, keyring.PhoneTags} {
		if _, err := box.keys.Secret(t.Context(), p, "lunch"); err != nil {
			t.Fatal(err)
		}
	}
	if err := box.Close(); err != nil {
		t.Fatal(err)
	}
	if err := dir.Close(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Until(d.ClosesAt)) // the program's clock is the real one
	return data
}

func TestDestroyKey(t *testing.T) {
	data := closedPoll(t, 0)
	before, err := os.ReadFile(filepath.Join(data, "keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	if out, errs, code := command(t, "", "poll", "key-proof", "lunch", "--data", data); code != exit.Unproven || !strings.Contains(out, "FAILED") {
		t.Errorf("nothing was destroyed: exit %d, %s %s", code, out, errs)
	}
	for _, args := range [][]string{{"--reason", "over"}, {"--reason", "over", "--confirm", "dinner"}, {"--confirm", "lunch"}} {
		if _, errs, code := command(t, "", append([]string{"poll", "destroy-key", "lunch", "--data", data}, args...)...); code == exit.OK {
			t.Errorf("%q was enough: %s", args, errs)
		}
	}
	out, errs, code := command(t, "", "poll", "destroy-key", "lunch", "--data", data, "--reason", "over", "--confirm", "lunch")
	if code != exit.OK || !strings.Contains(out, "has no identity key any more") {
		t.Fatalf("exit %d: %s %s", code, out, errs)
	}
	out, errs, code = command(t, "", "poll", "key-proof", "lunch", "--data", data)
	if code != exit.OK || strings.Count(out, "ok ") != 6 || !strings.Contains(out, "no copy was kept elsewhere") {
		t.Errorf("exit %d: %s %s", code, out, errs)
	}
	var shown struct {
		Destroyed *struct{ JWS string } `json:"key_destroyed"`
	}
	out, _, _ = command(t, "", "poll", "show", "lunch", "--data", data, "-o", "json")
	if err := json.Unmarshal([]byte(out), &shown); err != nil || shown.Destroyed == nil || shown.Destroyed.JWS == "" {
		t.Errorf("show: %v: %s", err, out)
	}
	if out, _, _ = command(t, "", "poll", "show", "lunch", "--data", data); !strings.Contains(out, "destroyed 20") {
		t.Errorf("show: %s", out)
	}

	// Whoever brings back a copy of the key file is found out.
	if err := os.WriteFile(filepath.Join(data, "keys.json"), before, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errs, code := command(t, "", "poll", "key-proof", "lunch", "--data", data); code != exit.Unproven || strings.Count(out, "FAILED") != 4 {
		t.Errorf("with the key back: exit %d, %s %s", code, out, errs)
	}
}

func TestDestroyKeyIsRefusedInTheAuditWindow(t *testing.T) {
	data := closedPoll(t, 1)
	_, errs, code := command(t, "", "poll", "destroy-key", "lunch", "--data", data, "--reason", "over", "--confirm", "lunch")
	if code != exit.Refused || !strings.Contains(errs, "its audit window ends at") {
		t.Errorf("exit %d: %s", code, errs)
	}
	ring, err := keyring.Inspect(filepath.Join(data, "keys.json"))
	if err != nil || len(ring.Destroyed) != 0 {
		t.Errorf("%v: %v", err, ring.Destroyed)
	}
}

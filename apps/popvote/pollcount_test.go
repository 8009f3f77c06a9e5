package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/popvote/internal/datadir"
	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/bundle"
	"github.com/popvote/popvote/libs/identity"
	"github.com/popvote/popvote/libs/poll"
)

// The trustees' whole part: each keeps a share in a place of their own, two of three come to the count, and
// because the poll's rules say so, the key is published, so that anybody opens every ballot again.
func TestTrusteesCountAndAnybodyCountsAgain(t *testing.T) {
	dir := t.TempDir()
	public, errs, code := command(t, "", "trustee", "new", "--needed", "2", "--of", "3", "--dir", dir)
	if code != exit.OK {
		t.Fatal(errs)
	}
	share := make([]string, 4)
	for i := 1; i <= 3; i++ {
		home := filepath.Join(dir, fmt.Sprint("trustee-", i))
		share[i] = filepath.Join(home, "share.json")
		if err := os.Mkdir(home, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, fmt.Sprintf("share-%d.json", i)), share[i]); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	votes(t, data, public, map[string]int{"claypot-rice": 3, "wonton-noodles": 2})

	count := func(paths ...string) (string, string, exit.Code) {
		args := []string{"poll", "count", "lunch", "--data", data}
		for _, p := range paths {
			args = append(args, "--share", p)
		}
		return command(t, "", args...)
	}
	if _, errs, code := count(share[2]); code != exit.BadInput || !strings.Contains(errs, "1 of 2 shares needed") {
		t.Errorf("one trustee: exit %d, %s", code, errs)
	}
	if _, errs, code := count(share[2], share[2]); code != exit.BadInput {
		t.Errorf("one trustee twice: exit %d, %s", code, errs)
	}
	text, err := os.ReadFile(share[1])
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(text), `"value": "`) + len(`"value": "`) + 5
	wrong := map[bool]byte{true: 'B', false: 'A'}[text[at] == 'A']
	damaged := filepath.Join(dir, "trustee-1", "damaged.json")
	if err := os.WriteFile(damaged, append(append(append([]byte(nil), text[:at]...), wrong), text[at+1:]...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := count(damaged, share[3]); code != exit.BadInput || !strings.Contains(errs, "share 1 is wrong") {
		t.Errorf("a damaged share: exit %d, %s", code, errs)
	}
	if out, errs, code := count(share[1], share[3]); code != exit.OK {
		t.Fatalf("exit %d: %s %s", code, out, errs)
	}

	for format, want := range map[string]string{"csv": "claypot-rice,", "json": `"jws"`, "nist": `"ElectionResults.ElectionReport"`} {
		if out, errs, code := command(t, "", "poll", "results", "lunch", "--data", data, "--format", format); code != exit.OK || !strings.Contains(out, want) {
			t.Errorf("as %s: exit %d, %s: %s", format, code, errs, out)
		}
	}
	if _, _, code := command(t, "", "poll", "results", "lunch", "--data", data, "--format", "pdf"); code != exit.Usage {
		t.Errorf("as PDF: exit %d", code)
	}

	file := filepath.Join(dir, "lunch.zip")
	for _, args := range [][]string{{"poll", "publish", "lunch", "--yes"}, {"poll", "bundle", "lunch", file}} {
		if _, errs, code := command(t, "", append(args, "--data", data)...); code != exit.OK {
			t.Fatalf("%v: exit %d: %s", args, code, errs)
		}
	}
	out, errs, code := command(t, "", "verify", file, "-o", "json")
	var report struct {
		OK     bool
		Checks []bundle.Check
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != exit.OK || !report.OK {
		t.Fatalf("exit %d: %v %s", code, err, errs)
	}
	for _, c := range report.Checks {
		if c.ID == bundle.CheckReopened && c.Status != bundle.OK {
			t.Errorf("with the key in the bundle, the ballots were not opened again: %+v", c)
		}
	}
}

// votes makes a data directory with a closed poll, its tally key as printed, and ballots in it.
func votes(t *testing.T, data, public string, often map[string]int) {
	t.Helper()
	file, err := poll.SampleFile("lunch")
	if err != nil {
		t.Fatal(err)
	}
	d, err := poll.Parse("lunch.yaml", append(file, public...))
	if err != nil {
		t.Fatal(err)
	}
	d.OpensAt, d.ClosesAt, d.RevealTallyKey = time.Now().Add(-time.Hour), time.Now().Add(time.Hour), true
	dir, err := datadir.Open(data)
	if err != nil {
		t.Fatal(err)
	}
	box, err := openBox(t.Context(), dir, boxDeps{log: quietLog()})
	if err != nil {
		t.Fatal(err)
	}
	me := ballotapi.Change{Actor: "tester"}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(box.Apply(t.Context(), *d, me))
	must(box.Move(t.Context(), "lunch", poll.Open, me))
	var m poll.Manifest
	document, err := box.Manifest(t.Context(), "lunch")
	must(err)
	must(json.Unmarshal(document.Plain, &m))
	var ballots []ballotapi.Ballot
	for option, n := range often {
		for range n {
			answers := make(ballot.Answers, len(m.Questions))
			answers[0], answers[1] = []string{option}, []string{"abstain"}
			sealed, err := ballot.Seal(&m, answers)
			must(err)
			key := fmt.Sprint("a-key-of-a-ballot-", len(ballots))
			ballots = append(ballots, ballotapi.Ballot{Poll: "lunch", Voter: identity.VoterTag{byte(len(ballots))}, Sealed: sealed, Key: key, Channel: ballotapi.Web})
		}
	}
	outcomes, err := box.Cast(t.Context(), ballots)
	must(err)
	for _, o := range outcomes {
		must(o.Err)
	}
	must(box.Move(t.Context(), "lunch", poll.Closed, me))
	must(box.Close())
	must(dir.Close())
}

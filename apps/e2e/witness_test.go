package e2e_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/e2e/instance"
	"github.com/popvote/popvote/apps/e2e/voter"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/ballotlog"
	"github.com/popvote/popvote/libs/channelsapi"
)

// forked is the exit code of a log that contradicts itself.
const forked = 17

// A witness and a mirror look at a real log. Then history is rewritten as an operator could: the data
// directory of before is put back, other ballots are cast, and the same keys sign what comes of it.
func TestAWitnessCatchesARewrittenLog(t *testing.T) {
	t.Parallel()
	i := demo(t)
	voteIn(t, i, 0)
	if code := i.Stop(); code != 0 {
		t.Fatalf("Ctrl-C: exit code %d", code)
	}
	dir := t.TempDir()
	earlier := filepath.Join(dir, "earlier")
	if err := os.CopyFS(earlier, os.DirFS(i.Data)); err != nil {
		t.Fatal(err)
	}
	own(t, earlier)

	i = i.Restart(everybodyAtOnce...)
	witness := func(source ...string) (code int, stdout, stderr string) {
		return instance.Run(t, popvote, append([]string{
			"witness", "--poll", lunch, "--key", filepath.Join(dir, "witness.key"), "--state", filepath.Join(dir, "state"),
		}, source...)...)
	}
	mirror := func(to string) (code int, stderr string) {
		code, _, stderr = instance.Run(t, popvote, "log", "mirror", "--log", i.Voters, "--poll", lunch, "--dir", to)
		return code, stderr
	}
	static := filepath.Join(dir, "static")
	cdn := httptest.NewServer(http.FileServer(http.Dir(static)))
	defer cdn.Close()

	for _, step := range []func(){func() {}, func() { voteIn(t, i, 1) }, func() { closeLunch(t, i) }} {
		step()
		if code, stdout, stderr := witness("--log", i.Voters, "--once"); code != 0 || !strings.HasPrefix(stdout, "popvote/lunch\n") {
			t.Fatalf("an honest log: exit code %d\n%s%s", code, stdout, stderr)
		}
		if code, stderr := mirror(static); code != 0 {
			t.Fatalf("mirroring an honest log: exit code %d\n%s", code, stderr)
		}
		if code, _, stderr := witness("--mirror", cdn.URL); code != 0 {
			t.Fatalf("an honest mirror: exit code %d\n%s", code, stderr)
		}
	}
	kept, err := os.ReadFile(filepath.Join(dir, "state", lunch, "checkpoint"))
	if err != nil || !strings.HasPrefix(string(kept), "popvote/lunch\n2\n") || strings.Count(string(kept), "\n— ") != 2 {
		t.Fatalf("the witness keeps %q: %v", kept, err)
	}

	i.Stop()
	at := i.Addresses
	i = instance.Start(t, popvote, instance.Options{Data: earlier, Args: everybodyAtOnce, At: &at})
	voteIn(t, i, 2)
	closeLunch(t, i)
	code, stdout, stderr := witness("--log", i.Voters)
	if code != forked || stdout != "" || !strings.Contains(stderr, "THE BALLOT LOG IS NOT WHAT IT WAS") {
		t.Fatalf("rewritten history: exit code %d\n%s%s", code, stdout, stderr)
	}
	if now, err := os.ReadFile(filepath.Join(dir, "state", lunch, "checkpoint")); err != nil || string(now) != string(kept) {
		t.Errorf("the state has changed: %v", err)
	}
	evidence, err := filepath.Glob(filepath.Join(dir, "state", lunch, "evidence", "*", "*.checkpoint"))
	if err != nil || len(evidence) != 2 {
		t.Errorf("the evidence is %v: %v", evidence, err)
	}
	if code, stderr := mirror(static); code != forked {
		t.Errorf("mirroring rewritten history: exit code %d\n%s", code, stderr)
	}
	if code, _, stderr := witness("--mirror", cdn.URL); code != 0 {
		t.Errorf("the mirror of before: exit code %d\n%s", code, stderr)
	}
}

func TestWitnessCommandLine(t *testing.T) {
	t.Parallel()
	key := filepath.Join(t.TempDir(), "witness.key")
	code, vkey, _ := instance.Run(t, popvote, "witness", "keygen", "--key", key, "--name", "witness.example/1")
	info, err := os.Stat(key)
	if code != 0 || !strings.HasPrefix(vkey, "witness.example/1+") || err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("keygen: exit code %d, %q, %v %v", code, vkey, info, err)
	}
	state := t.TempDir()
	for _, c := range []struct {
		args []string
		code int
	}{
		{[]string{"witness", "keygen", "--key", key}, 10},
		{[]string{"witness", "keygen"}, 2},
		{[]string{"witness"}, 2},
		{[]string{"witness", "--key", key, "--state", state, "--poll", lunch}, 2},
		{[]string{"witness", "--key", key, "--state", state, "--poll", "../x", "--log", "http://127.0.0.1:1"}, 2},
		{[]string{"witness", "--key", key, "--state", state, "--poll", lunch, "--log", "nowhere"}, 2},
		{[]string{"witness", "--key", key, "--state", state, "--poll", lunch, "--log", "http://127.0.0.1:1", "--once", "--every", "1m"}, 2},
		{[]string{"witness", "--key", key, "--state", state, "--poll", lunch, "--log", "http://127.0.0.1:1"}, 1},
		{[]string{"witness", "--key", "witness_test.go", "--state", state, "--poll", lunch, "--log", "http://127.0.0.1:1"}, 10},
		{[]string{"log", "mirror", "--log", "http://127.0.0.1:1", "--poll", lunch}, 2},
	} {
		code, _, said := instance.Run(t, popvote, c.args...)
		if code != c.code || said == "" {
			t.Errorf("popvote %s: exit code %d (%q), want %d and a sentence", strings.Join(c.args, " "), code, said, c.code)
		}
	}
}

// A receipt is exchanged for a proof that its ballot is in the log, once it is.
func TestAReceiptIsExchangedForAProof(t *testing.T) {
	t.Parallel()
	i := demo(t)
	mine := voteIn(t, i, 10)
	w := voters(t, i, lunch)
	asking := func(r channelsapi.LeafRequest) *channelsapi.ProveLeafResponse {
		res, err := w.API.ProveLeafWithResponse(t.Context(), lunch, r)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	ask := func(leaf []byte) *channelsapi.ProveLeafResponse {
		text := base64.StdEncoding.EncodeToString(leaf)
		return asking(channelsapi.LeafRequest{Leaf: &text})
	}
	if p := asking(channelsapi.LeafRequest{Code: &mine.Code}).JSON200; p == nil || p.Index != nil {
		t.Fatalf("by its code, before there are 64: %v", p)
	}
	if p := ask(mine.Leaf).JSON200; p == nil || p.Index != nil || p.Path != nil {
		t.Fatalf("before there are 64: %v", p)
	}
	voteIn(t, i, 11)
	closeLunch(t, i)
	var proof *channelsapi.LeafProof
	for deadline := time.Now().Add(10 * time.Second); (proof == nil || proof.Index == nil) && time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		proof = ask(mine.Leaf).JSON200
	}
	if proof == nil || proof.Index == nil {
		t.Fatal("a ballot of a closed poll is not proved")
	}
	trust := ballotlog.Trust{Poll: lunch, LogKey: w.Manifest.LogKey}
	key, err := trust.Verifier()
	if err != nil {
		t.Fatal(err)
	}
	checkpoint, err := ballotlog.Open([]byte(proof.Checkpoint), key)
	if err != nil {
		t.Fatal(err)
	}
	var path [][]byte
	for _, one := range *proof.Path {
		hash, err := base64.StdEncoding.DecodeString(one)
		if err != nil {
			t.Fatal(err)
		}
		path = append(path, hash)
	}
	if err := ballotlog.Included(path, checkpoint.Tree, *proof.Index, mine.Leaf); err != nil {
		t.Error(err)
	}
	if err := ballotlog.Included(path, checkpoint.Tree, 1-*proof.Index, mine.Leaf); err == nil {
		t.Error("the proof holds for another place as well")
	}
	if p := asking(channelsapi.LeafRequest{Code: &mine.Code}).JSON200; p == nil || p.Index == nil || *p.Index != *proof.Index {
		t.Errorf("by its code: %v", p)
	}
	if p := ask(make([]byte, 32)).JSON200; p == nil || p.Index != nil {
		t.Errorf("a made-up leaf: %v", p)
	}
}

// own keeps what a copied data directory holds to its owner.
func own(t *testing.T, dir string) {
	t.Helper()
	if err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		return os.Chmod(path, 0o600)
	}); err != nil {
		t.Fatal(err)
	}
}

// voteIn lets one more person vote in lunch.
func voteIn(t *testing.T, i *instance.Instance, n int) *ballotapi.Receipt {
	t.Helper()
	w := voters(t, i, lunch)
	p := voter.NewPerson(70, n)
	token, err := verified(t.Context(), w, p)
	if err != nil {
		t.Fatal(err)
	}
	e, err := w.Seal()
	if err != nil {
		t.Fatal(err)
	}
	receipt, err := w.Record(t.Context(), record(t).Recorder, p, token, e)
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

// closeLunch closes the poll of two ballots, and waits until the public log has them.
func closeLunch(t *testing.T, i *instance.Instance) {
	t.Helper()
	i.Do("close", lunch, "--yes")
	w := voters(t, i, lunch)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		res, err := w.API.GetCheckpointWithResponse(t.Context(), lunch)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(string(res.Body), "popvote/lunch\n2\n") {
			return
		}
	}
	t.Fatal("two ballots are not in the log of a closed poll")
}

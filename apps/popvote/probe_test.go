package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/apps/popvote/internal/probe"
	"github.com/popvote/popvote/libs/poll"
)

// instance is popvote up, in this process. Its end is the test's, or stop's.
func instance(t *testing.T, more ...string) (s started, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	read, write := io.Pipe()
	root := newRootCommand()
	root.SetOut(write)
	root.SetErr(t.Output())
	args := []string{"up", "-o", "json", "--data", t.TempDir(), "--challenge-cost", "1", "--log-level", "error"}
	for _, listen := range []string{"--listen", "--panel-listen", "--phone-listen", "--admin-listen"} {
		args = append(args, listen, "127.0.0.1:0")
	}
	root.SetArgs(append(args, more...))
	ended := make(chan error, 1)
	go func() {
		err := root.ExecuteContext(ctx)
		ended <- err
		_ = write.CloseWithError(errors.Join(err, io.EOF))
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	line, err := bufio.NewReader(read).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s, stop
}

// once is one round against an instance, and its only walk.
func once(t *testing.T, args ...string) (*probe.Walk, string, exit.Code) {
	t.Helper()
	out, errs, code := command(t, "", append([]string{"probe", "--once", "-o", "json"}, args...)...)
	var walks []*probe.Walk
	if err := json.Unmarshal([]byte(out), &walks); err != nil || len(walks) != 1 {
		t.Fatalf("exit %d: %v: %s%s", code, err, out, errs)
	}
	return walks[0], errs, code
}

func taken(w *probe.Walk) (steps []probe.Step) {
	for _, s := range w.Steps {
		steps = append(steps, s.Step)
	}
	return steps
}

var (
	reading = []probe.Step{probe.Connect, probe.Page, probe.Polls, probe.Challenge, probe.Session}
	voting  = []probe.Step{
		probe.Connect, probe.Page, probe.Polls, probe.Manifest, probe.Handset, probe.Challenge, probe.Work, probe.Session, probe.Phone, probe.Cast,
	}
)

// inTheBox is how many ballots there are.
func inTheBox(t *testing.T, s started, id string) int64 {
	t.Helper()
	out, errs, code := command(t, "", "poll", "show", id, "--data", s.Data, "-o", "json")
	var view pollView
	if err := json.Unmarshal([]byte(out), &view); code != exit.OK || err != nil {
		t.Fatalf("exit %d: %v %s", code, err, errs)
	}
	return view.Stats.Total
}

// TestASyntheticVoterComesThrough: in either mode of proving a phone, where the poll is for tests; and without
// one, up to the refusal, which leaves nothing.
func TestASyntheticVoterComesThrough(t *testing.T) {
	s, _ := instance(t, "--seed-demo")
	walk, errs, code := once(t, "--origin", s.Voters)
	if code != exit.OK || !slices.Equal(taken(walk), reading) {
		t.Fatalf("exit %d after %q: %s", code, taken(walk), errs)
	}
	if n := sessions(t, s); n != 0 {
		t.Errorf("%d sessions were begun", n)
	}
	for _, id := range []string{"hk-2014-06", "lunch"} {
		for n := range int64(3) {
			walk, errs, code := once(t, "--origin", s.Voters, "--poll", id, "--phone", s.Phone)
			if code != exit.OK || !slices.Equal(taken(walk), voting) {
				t.Fatalf("exit %d after %q in %s: %s", code, taken(walk), id, errs)
			}
			if got := inTheBox(t, s, id); got != n+1 {
				t.Errorf("%d ballots of %s are in the box after %d votes", got, id, n+1)
			}
		}
	}
	if out, errs, code := command(t, "", "probe", "--once", "--origin", s.Voters); code != exit.OK || !strings.Contains(out, "session") {
		t.Errorf("as a table: exit %d, %s%s", code, out, errs)
	}
}

// sessions is how many sessions the API server has begun.
func sessions(t *testing.T, s started) (n int) {
	t.Helper()
	for _, line := range metricsOf(t, s.Admin) {
		if strings.HasPrefix(line, "popvote_api_sessions_total{") {
			n++
		}
	}
	return n
}

func metricsOf(t *testing.T, admin string) []string {
	t.Helper()
	res, err := http.Get(admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(text), "\n")
}

// TestAVoteThatCountsIsNeverCast, whatever the flags say.
func TestAVoteThatCountsIsNeverCast(t *testing.T) {
	dir := t.TempDir()
	public, errs, code := command(t, "", "trustee", "new", "--needed", "1", "--of", "1", "--dir", dir)
	if code != exit.OK {
		t.Fatal(errs)
	}
	sample, err := poll.SampleFile("hk-2014-06")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(sample), "kind: demo", "kind: public", 1) + public
	for key, at := range map[string]time.Time{"opens_at": time.Now().Add(-time.Hour), "closes_at": time.Now().Add(time.Hour)} {
		text = regexp.MustCompile(`(?m)^`+key+`: .*$`).ReplaceAllString(text, key+": "+at.Format(time.RFC3339))
	}
	file := filepath.Join(dir, "poll.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"apply", file}, {"open", "hk-2014-06"}} {
		if _, errs, code := command(t, "", append([]string{"poll", "--data", data}, args...)...); code != exit.OK {
			t.Fatal(errs)
		}
	}
	s, _ := instance(t, "--data", data)
	walk, _, code := once(t, "--origin", s.Voters, "--poll", "hk-2014-06", "--phone", s.Phone)
	if code != exit.Failed || walk.Failed != probe.Manifest || walk.Code != "poll_counts" {
		t.Errorf("exit %d: %s failed, %s", code, walk.Failed, walk.Code)
	}
	if n := sessions(t, s); n != 0 {
		t.Errorf("%d sessions were begun", n)
	}
	// Without --poll it is looked at all the same.
	if walk, errs, code := once(t, "--origin", s.Voters); code != exit.OK || !slices.Equal(taken(walk), reading) {
		t.Errorf("exit %d after %q: %s", code, taken(walk), errs)
	}
}

// TestWhatIsBrokenIsNamed: the step, and why.
func TestWhatIsBrokenIsNamed(t *testing.T) {
	s, stop := instance(t, "--seed-demo")
	behind, err := url.Parse(s.Voters)
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(behind) }, ErrorLog: quiet}
	broken := ""
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken != "" && strings.HasSuffix(r.URL.Path, broken) {
			http.Error(w, "no server is available", http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	secure.Config.ErrorLog = quiet
	secure.StartTLS()
	defer secure.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	// The name leads nowhere: it is the edge that is asked, as the origin's name.
	origin, edge := "https://example.com", "here="+secure.Listener.Addr().String()
	vote := []string{"--origin", origin, "--edge", edge, "--ca", ca, "--poll", "hk-2014-06", "--phone", s.Phone}
	want := func(what string, step probe.Step, reason string, args ...string) {
		t.Helper()
		walk, errs, code := once(t, args...)
		if code != exit.Failed || walk.Edge == "" || walk.Failed != step || walk.Code != reason {
			t.Errorf("%s: exit %d, %s failed for %s, want %s for %s: %s", what, code, walk.Failed, walk.Code, step, reason, errs)
		}
	}
	if walk, errs, code := once(t, vote...); code != exit.OK || !slices.Equal(taken(walk), voting) {
		t.Fatalf("exit %d after %q: %s", code, taken(walk), errs)
	}
	want("another authority's certificate", probe.Connect, "certificate", "--origin", origin, "--edge", edge)
	want("another name's certificate", probe.Connect, "certificate", "--origin", "https://vote.example.org", "--edge", edge, "--ca", ca)
	for path, step := range map[string]probe.Step{
		"/": probe.Page, "/v1/polls": probe.Polls, "/v1/polls/hk-2014-06": probe.Manifest, "/v1/challenge": probe.Challenge,
		"/sessions": probe.Session, "/v1/verification": probe.Phone, "/v1/ballots": probe.Cast,
	} {
		broken = path
		want("a balancer without servers for "+path, step, "answer", vote...)
	}
	broken = ""
	want("no such poll", probe.Manifest, "poll-not-found", append(slices.Clone(vote), "--poll", "dinner")...)
	want("nobody at the phone", probe.Handset, "no_connection", append(vote[:len(vote)-1:len(vote)-1], nobodyAt(t))...)
	phones := filepath.Join(t.TempDir(), "phones")
	if err := os.WriteFile(phones, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want("no phone", probe.Handset, "no_phone", append(vote[:len(vote)-2:len(vote)-2], "--phones", phones)...)
	if _, errs, code := command(t, "", "poll", "pause", "hk-2014-06", "--data", s.Data, "--yes", "--reason", "lunch"); code != exit.OK {
		t.Fatal(errs)
	}
	await(t, "the poll is paused for everybody", func() bool {
		walk, _, _ := once(t, vote...)
		return walk.Failed == probe.Manifest && walk.Code == "poll_not_open"
	})
	stop()
	want("no server behind the edge", probe.Page, "answer", vote...)
	want("no server", probe.Connect, "no_connection", "--origin", s.Voters)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	want("a frozen edge", probe.Connect, "timeout", "--origin", origin, "--edge", "here="+silent.Addr().String())
}

// nobodyAt is an origin where nobody listens.
func nobodyAt(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// TestProberSaysHowItWent: its metrics have what came through, what failed and where, for edges that come and
// go in its file.
func TestProberSaysHowItWent(t *testing.T) {
	s, _ := instance(t, "--seed-demo")
	at := strings.TrimPrefix(s.Voters, "http://")
	file := filepath.Join(t.TempDir(), "edges")
	write := func(lines string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("aws=" + at + "\n\ngcp=" + strings.TrimPrefix(nobodyAt(t), "http://") + "\n")
	log := &watched{}
	ctx, cancel := context.WithCancel(context.Background())
	root := newRootCommand()
	root.SetErr(log)
	root.SetArgs([]string{"probe", "--origin", "http://vote.example.org", "--edges", file, "--interval", "1s", "--admin", "127.0.0.1:0"})
	ended := make(chan error, 1)
	go func() { ended <- root.ExecuteContext(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	var admin string
	await(t, "it listens", func() bool {
		found := regexp.MustCompile(`"address":"([^"]+)"`).FindStringSubmatch(log.String())
		if found != nil {
			admin = "http://" + found[1]
		}
		return found != nil
	})
	has := func(start string) bool {
		return slices.ContainsFunc(metricsOf(t, admin), func(line string) bool { return strings.HasPrefix(line, start) })
	}
	await(t, "aws is well and gcp is not", func() bool {
		return has(`popvote_prober_last_success_timestamp_seconds{edge="aws"} 1`) && has(`popvote_prober_failures_total{code="no_connection",edge="gcp",step="connect"} `)
	})
	for _, step := range reading {
		if !has(fmt.Sprintf(`popvote_prober_step_duration_seconds_count{edge="aws",step="%s"} `, step)) {
			t.Errorf("%s took no time", step)
		}
	}
	if has(`popvote_prober_last_success_timestamp_seconds{edge="gcp"}`) || has(`popvote_prober_failures_total{code="no_connection",edge="aws"`) || !has("popvote_prober_edges 2") {
		t.Error("one edge is taken for the other")
	}
	if line := log.String(); !strings.Contains(line, `"edge":"gcp","step":"connect","code":"no_connection"`) {
		t.Errorf("its log doesn't say so: %s", line)
	}
	write("gcp=" + at + "\n")
	await(t, "gcp is back, and aws gone", func() bool {
		return has(`popvote_prober_last_success_timestamp_seconds{edge="gcp"} 1`) && has("popvote_prober_edges 1")
	})
	write("")
	await(t, "no edge is known", func() bool {
		return has("popvote_prober_edges 0") && strings.Contains(log.String(), "no edge is known")
	})
}

// watched is a log that is read while it is written.
type watched struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(b)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 300 {
		if is() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("waited in vain until %s", what)
}

func TestProbeFlags(t *testing.T) {
	for what, args := range map[string][]string{
		"no origin":               {"--once"},
		"an address":              {"--once", "--origin", "vote.example.org"},
		"a path":                  {"--once", "--origin", "https://vote.example.org/en"},
		"an edge without a port":  {"--once", "--origin", "https://vote.example.org", "--edge", "aws=10.77.1.10"},
		"an edge without a name":  {"--once", "--origin", "https://vote.example.org", "--edge", "10.77.1.10:443"},
		"a poll without a phone":  {"--once", "--origin", "https://vote.example.org", "--poll", "lunch"},
		"a phone without a poll":  {"--once", "--origin", "https://vote.example.org", "--phone", "http://127.0.0.1:8082"},
		"a phone without http":    {"--once", "--origin", "https://vote.example.org", "--poll", "lunch", "--phone", "127.0.0.1:8082"},
		"a poll that can't be":    {"--once", "--origin", "https://vote.example.org", "--poll", "../x", "--phone", "http://127.0.0.1:8082"},
		"once, and again":         {"--once", "--origin", "https://vote.example.org", "--interval", "5s"},
		"again and again at once": {"--origin", "https://vote.example.org", "--interval", "1ms"},
		"no file of edges":        {"--once", "--origin", "https://vote.example.org", "--edges", "/nowhere"},
	} {
		if out, errs, code := command(t, "", append([]string{"probe"}, args...)...); code != exit.Usage {
			t.Errorf("%s: exit %d: %s%s", what, code, out, errs)
		}
	}
}

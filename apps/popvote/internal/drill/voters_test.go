//go:build unix

package drill

import (
	"context"
	"io"
	"log" //nolint:depguard // the proxy's own
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/e2e/instance"
	"github.com/popvote/popvote/apps/e2e/votecheck"
	"github.com/popvote/popvote/apps/popvote/internal/local"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/channelsapi"
)

// built is popvote's binary, built when a test first asks for it.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "popvote-drill-*")
	if err != nil {
		return "", err
	}
	builtIn = dir
	return instance.Build(context.Background(), dir)
})

var builtIn string

func TestMain(m *testing.M) {
	code := m.Run()
	if builtIn != "" {
		_ = os.RemoveAll(builtIn)
	}
	os.Exit(code)
}

var everybodyAtOnce = []string{"--limits-scale", "10000"}

// open starts popvote, and opens a poll in it, to which three edges lead.
func open(t *testing.T) (*instance.Instance, *Vote) {
	t.Helper()
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	i := instance.Start(t, binary, instance.Options{Args: everybodyAtOnce})
	box, err := local.Dial(t.Context(), i.Data)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(box.Close)
	p, err := OpenPoll(t.Context(), func(context.Context) (ballotapi.Admin, error) { return box, nil })
	if err != nil {
		t.Fatal(err)
	}
	vote := &Vote{Poll: p.ID, Finish: p.Finish, Phones: func(context.Context) ([]string, error) { return []string{i.Phone}, nil }}
	for range 3 {
		vote.Edges = append(vote.Edges, edge(t, i))
	}
	return i, vote
}

// edge is one more way to an instance.
func edge(t *testing.T, i *instance.Instance) (origin string) {
	t.Helper()
	at, err := url.Parse(i.Voters)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(at)
	proxy.ErrorLog = log.New(io.Discard, "", 0) // that the server is away is what tests are about
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.URL
}

// until waits until so many more votes are acknowledged.
func until(t *testing.T, l *voters, more int) {
	t.Helper()
	want := len(l.acknowledged()) + more
	for deadline := time.Now().Add(time.Minute); len(l.acknowledged()) < want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d votes were acknowledged", len(l.acknowledged()), want)
		}
	}
}

// Voters go all three steps by any edge, and go on when the server dies under them: what they were told is
// true in the end, by every source's word.
func TestVoters(t *testing.T) {
	i, vote := open(t)
	l, err := begun(t.Context(), vote, Drill{}, 8, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { l.run(ctx, 8) })
	until(t, l, 20)
	i.Kill()
	for deadline := time.Now().Add(time.Minute); l.failures() == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody noticed that the server died")
		}
	}
	i.Restart(everybodyAtOnce...)
	until(t, l, 20)
	stop()
	running.Wait()
	c, err := l.check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", c)
	if c.Acknowledged < 40 || c.Verified < 40 || c.Stored < c.Acknowledged || c.Lost+c.Doubled+c.Strange+c.Unknown > 0 || len(c.Broken) > 0 || len(c.Refused) > 0 {
		t.Errorf("what voters were told is not what is there: %+v", c)
	}
}

// failures are how many tries failed so far.
func (l *ledger) failures() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tries
}

// Whatever the checker finds is in the report, and only what is wrong is wrong.
func TestVotersJudged(t *testing.T) {
	v := &voters{ledger: newLedger(), refused: map[string]int{}}
	v.ask("v1")
	found := &votecheck.Report{Voters: 7, Box: 9, Recovered: 1}
	for _, rule := range []votecheck.Rule{
		votecheck.Lost, votecheck.Lost, votecheck.Double, votecheck.Phantom, votecheck.Undead, votecheck.WrongTally, votecheck.Disagree,
	} {
		found.Violations = append(found.Violations, votecheck.Violation{Rule: rule})
	}
	c := v.judge(found)
	if c.Acknowledged != 7 || c.Stored != 9 || c.Lost != 2 || c.Doubled != 1 || c.Strange != 2 || len(c.Broken) != 2 || c.Unknown != 1 || c.Recovered != 1 {
		t.Errorf("%+v", c)
	}
}

// An edge that answers nothing costs the voters who meet it a try, and nobody the vote.
func TestDeadEdge(t *testing.T) {
	_, vote := open(t)
	l, err := begun(t.Context(), vote, Drill{}, 4, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dead := l.worlds[1]
	api, err := channelsapi.NewClientWithResponses("http://127.0.0.1:1", channelsapi.WithHTTPClient(dead.HTTP))
	if err != nil {
		t.Fatal(err)
	}
	dead.API = api
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { l.run(ctx, 4) })
	until(t, l, 20)
	stop()
	running.Wait()
	c, err := l.check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	reasons := ""
	for reason := range c.Reasons {
		reasons += reason + "; "
	}
	if c.Lost+c.Unknown > 0 || !strings.Contains(reasons, "no answer") {
		t.Errorf("%+v", c)
	}
}

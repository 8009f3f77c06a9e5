package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/e2e/apart"
	"github.com/popvote/popvote/apps/e2e/voter"
	"github.com/popvote/popvote/libs/channelsapi"
)

const (
	// fewWait is how many wait in TestManyWaitAtOnce; NOTICE_WAITERS says another number, such as 10000.
	fewWait = 1000
	// textsPerSecond come in, evenly.
	textsPerSecond = 200
)

// TestManyWaitAtOnce: so many voters wait at one API server, and each hears of their own SMS. The first half come
// in while nothing is wrong: how long each took from the network's call to the event is measured. Then Redis is
// killed and comes back empty, and the API server is killed, while SMS come in; nobody waits in vain.
func TestManyWaitAtOnce(t *testing.T) {
	n := fewWait
	if text := os.Getenv("NOTICE_WAITERS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 100 {
			t.Fatalf("NOTICE_WAITERS=%q: want a number from 100", text)
		}
	}
	s := site(t, apart.Options{APIs: 1, Polls: []string{referendum}})
	api := s.APIs[0]
	w := s.Voters(t.Context(), api, referendum)
	all := begunAll(t, w, n)
	before := resident(t, api.PID())

	transport := &http.Transport{MaxIdleConnsPerHost: n}
	t.Cleanup(transport.CloseIdleConnections)
	var group sync.WaitGroup
	t.Cleanup(group.Wait)
	var heard atomic.Int64
	for _, one := range all {
		group.Go(func() {
			one.wait(t.Context(), transport, w.Origin)
			heard.Add(1)
		})
	}
	waiting := func(want int) {
		t.Helper()
		for deadline := time.Now().Add(apart.Patience); gauge(t, api, "popvote_api_waiters") != float64(want); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%v wait, want %d", gauge(t, api, "popvote_api_waiters"), want)
			}
		}
	}
	waiting(n)
	t.Logf("%d wait, in %.1f KiB of memory each", n, float64(resident(t, api.PID())-before)/1024/float64(n))

	half, quarter := n/2, n/4
	texted(t, w, all[:half])
	var took []time.Duration
	for _, one := range all[:half] {
		took = append(took, one.told(t))
	}
	slices.Sort(took)
	t.Logf("from the network's call to the voter's event: p50 %v, p99 %v, at most %v", took[half/2], took[half*99/100], took[half-1])

	ended := make(chan struct{})
	go func() {
		defer close(ended)
		texted(t, w, all[half:half+quarter])
	}()
	s.Redis.Kill()
	s.Redis.Start()
	<-ended
	for _, one := range all[half : half+quarter] {
		one.told(t)
	}

	ended = make(chan struct{})
	go func() {
		defer close(ended)
		texted(t, w, all[half+quarter:])
	}()
	api.Kill()
	api.Restart()
	<-ended
	for _, one := range all[half+quarter:] {
		one.told(t)
	}
	if heard.Load() != int64(n) {
		t.Errorf("%d of %d have heard", heard.Load(), n)
	}
}

// waiter is a voter whose page waits.
type waiter struct {
	person voter.Person
	begun  *channelsapi.Session
	texted time.Time     // when the SMS was sent
	event  chan struct{} // closed when the event is there
	at     time.Time     // when it was
}

func begunAll(t *testing.T, w *voter.World, n int) []*waiter {
	t.Helper()
	all := make([]*waiter, n)
	var next atomic.Int64
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				one := &waiter{person: voter.NewPerson(1700, i), event: make(chan struct{})}
				var err error
				if one.begun, err = w.Identify(t.Context(), one.person); err != nil {
					t.Errorf("a session: %v", err)
					return
				}
				all[i] = one
			}
		})
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return all
}

// wait holds the stream as a page does: where it ends without the event, it is opened again, a second later and a bit.
func (o *waiter) wait(ctx context.Context, transport http.RoundTripper, base string) {
	for ctx.Err() == nil && !o.stream(ctx, transport, base) {
		select {
		case <-time.After(time.Second + rand.N(time.Second)):
		case <-ctx.Done():
		}
	}
}

func (o *waiter) stream(ctx context.Context, transport http.RoundTripper, base string) (verified bool) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/v1/verification", nil)
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", "Bearer "+o.begun.AccessToken)
	req.Header.Set("Accept", "text/event-stream")
	res, err := transport.RoundTrip(req)
	if err != nil {
		return false
	}
	defer func() { _ = res.Body.Close() }()
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(make([]byte, 0, 1024), 64<<10)
	for lines.Scan() {
		if lines.Text() != "event: verified" {
			continue
		}
		if !lines.Scan() {
			return false
		}
		var token channelsapi.Verified
		data, _ := strings.CutPrefix(lines.Text(), "data: ")
		if json.Unmarshal([]byte(data), &token) != nil || token.AccessToken == "" {
			return false
		}
		o.at = time.Now()
		close(o.event)
		return true
	}
	return false
}

// told waits for the event, and returns how long after the network's call it came.
func (o *waiter) told(t *testing.T) time.Duration {
	t.Helper()
	select {
	case <-o.event:
		return o.at.Sub(o.texted)
	case <-time.After(apart.Patience):
		t.Fatal("a voter texted and was never told")
		return 0
	}
}

// texted has everybody text, so many a second. A network whose call is refused calls again.
func texted(t *testing.T, w *voter.World, all []*waiter) {
	var group sync.WaitGroup
	defer group.Wait()
	tick := time.NewTicker(time.Second / textsPerSecond)
	defer tick.Stop()
	for _, one := range all {
		one.texted = time.Now()
		group.Go(func() {
			for deadline := one.texted.Add(apart.Patience); ; time.Sleep(200 * time.Millisecond) {
				err := w.Text(t.Context(), one.person, *one.begun.Verification.Number, *one.begun.Verification.Text)
				if err == nil {
					return
				}
				if time.Now().After(deadline) {
					t.Errorf("an SMS was not taken: %v", err)
					return
				}
			}
		})
		<-tick.C
	}
}

// resident is how much memory a process has, in bytes.
func resident(t *testing.T, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "VmRSS:")
	kilobytes, err := strconv.ParseInt(strings.Fields(after)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

// gauge reads one of a program's figures.
func gauge(t *testing.T, p *apart.Program, name string) float64 {
	t.Helper()
	res, err := http.Get("http://" + p.At["admin"] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), name+" "); found {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("%s has no figure %s", name, name)
	return 0
}

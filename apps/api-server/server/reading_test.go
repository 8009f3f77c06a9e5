package server

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/signed"
)

func published(w *world) { w.box.set(sends, poll.Published) }

func TestEverythingReadHasATagAndAnAge(t *testing.T) {
	w := newWorld(t, published)
	for path, contentType := range map[string]string{
		"/v1/polls":                           "application/json",
		"/v1/polls/sends":                     "application/json",
		"/v1/polls/sends/turnout":             "application/json",
		"/v1/polls/sends/results":             "application/json",
		"/v1/polls/sends/log/checkpoint":      "text/plain; charset=utf-8",
		"/v1/polls/sends/log/tile/0/000":      "application/octet-stream",
		"/v1/polls/sends/log/tile/0/001.p/44": "application/octet-stream",
		"/v1/polls/sends/log/tile/1/000.p/1":  "application/octet-stream",
	} {
		got := w.call("GET", path, nil)
		if got.status != http.StatusOK || got.header.Get("Content-Type") != contentType || !strings.HasPrefix(got.header.Get("Cache-Control"), "public, ") {
			t.Errorf("%s: %d %v", path, got.status, got.header)
		}
		etag := got.header.Get("ETag")
		for _, condition := range []string{etag, "W/" + etag, `"other", ` + etag, "*"} {
			if again := w.call("GET", path, nil, with("If-None-Match", condition)); again.status != http.StatusNotModified || again.header.Get("ETag") != etag {
				t.Errorf("%s with %s: %d, want 304", path, condition, again.status)
			}
		}
		if other := w.call("GET", path, nil, with("If-None-Match", `"other"`)); other.status != http.StatusOK {
			t.Errorf("%s with another tag: %d", path, other.status)
		}
		if head := w.call("HEAD", path, nil); head.status != http.StatusOK || head.header.Get("ETag") != etag {
			t.Errorf("HEAD %s: %d", path, head.status)
		}
	}
	if got := w.call("GET", "/v1/polls/sends/bundle", nil); string(got.body) != "PK\x05\x06" || got.header.Get("Content-Disposition") != `attachment; filename="sends.zip"` {
		t.Errorf("the bundle is %q, %v", got.body, got.header)
	}
}

// TestASignatureAloneChangesNothing: ES256 signs differently each time; what is said stays the same.
func TestASignatureAloneChangesNothing(t *testing.T) {
	w := newWorld(t, published)
	for _, path := range []string{"/v1/polls/sends", "/v1/polls/sends/results", "/v1/polls/sends/turnout"} {
		first := w.call("GET", path, nil).header.Get("ETag")
		reads := w.box.total()
		w.clock.advance(rereadEvery)
		w.server.polls.refresh(t.Context())
		if again := w.call("GET", path, nil).header.Get("ETag"); first == "" || again != first || w.box.total() == reads {
			t.Errorf("%s: the tag went from %s to %s", path, first, again)
		}
	}
}

func TestLargeAnswersAreCompressed(t *testing.T) {
	w := newWorld(t)
	plain := w.call("GET", "/v1/polls/sends", nil)
	r := w.request("GET", "/v1/polls/sends", nil, with("Accept-Encoding", "br, gzip"))
	recorder := httptest.NewRecorder()
	w.server.Handler().ServeHTTP(recorder, r)
	if recorder.Header().Get("Content-Encoding") != "gzip" || !strings.Contains(recorder.Header().Get("Vary"), "Accept-Encoding") || recorder.Header().Get("ETag") == plain.header.Get("ETag") {
		t.Fatalf("%v", recorder.Header())
	}
	t.Logf("%d bytes instead of %d", recorder.Body.Len(), len(plain.body))
	z, err := gzip.NewReader(recorder.Body)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(z); err != nil || string(text) != string(plain.body) {
		t.Errorf("%v: not the same inside", err)
	}
	for header, want := range map[string]bool{"": false, "br": false, "gzip;q=0": false, "gzip; q=0.5": true, "deflate, gzip": true, "gzipped": false} {
		if acceptsGzip(header) != want {
			t.Errorf("%q: %v", header, !want)
		}
	}
}

// TestSignedBytesAreNotTouched: what a reader verifies is what the ballot server signed.
func TestSignedBytesAreNotTouched(t *testing.T) {
	w := newWorld(t)
	document := read[signed.Document](t, w.call("GET", "/v1/polls/sends", nil), http.StatusOK)
	var m poll.Manifest
	payload, err := document.Open(w.box.signer.Key(), &m)
	if err != nil || string(payload) != string(document.Plain) || m.ID != sends {
		t.Errorf("%v: %s", err, document.Plain)
	}
}

// TestAFloodOfReadsCostsNothing: however much is asked, the ballot server is asked once a second at
// most for what exists, and hardly at all for what does not.
func TestAFloodOfReadsCostsNothing(t *testing.T) {
	w := newWorld(t)
	w.clock.advance(time.Second)
	before := w.box.total()
	for i := range 200 {
		for _, path := range []string{
			"/v1/polls", "/v1/polls/sends", "/v1/polls/sends/turnout", "/v1/polls/sends/results", "/v1/polls/sends/log/checkpoint",
			"/v1/polls/sends/log/tile/0/000", fmt.Sprintf("/v1/polls/sends/log/tile/0/%03d", i+2),
		} {
			w.server.Handler().ServeHTTP(discard{}, w.request("GET", path, nil))
		}
	}
	if cost := w.box.total() - before; cost > 40 {
		t.Errorf("1,400 reads cost %d calls", cost)
	}
	before = w.box.total()
	for i := range 1000 {
		w.server.Handler().ServeHTTP(discard{}, w.request("GET", fmt.Sprintf("/v1/polls/made-up-%d/turnout", i), nil))
	}
	if cost := w.box.total() - before; cost > 20 { // what refreshing by itself costs
		t.Errorf("1,000 made-up polls cost %d calls", cost)
	}
	// Junk at the doors of the three steps costs none.
	token := w.verify(w.someone())
	for range 500 {
		w.server.Handler().ServeHTTP(discard{}, w.request("POST", "/v1/ballots", object{"sealed": "AAAA"}, bearer(token), with("Idempotency-Key", someKey)))
		w.server.Handler().ServeHTTP(discard{}, w.request("POST", sessionsPath, `{"identity":{"type":"hkid","number":"A1"},"phone":"1","challenge":"x"}`))
	}
	if n := w.box.count("cast"); n != 0 {
		t.Errorf("junk reached the box %d times", n)
	}
}

// TestATileOfAnothersCheckpoint: a checkpoint that one API server shows is of a log that all of them serve,
// though another's own may be older.
func TestATileOfAnothersCheckpoint(t *testing.T) {
	w := newWorld(t)
	const tile = "/v1/polls/sends/log/tile/0/001.p/45"
	if got := w.call("GET", tile, nil); got.status != http.StatusNotFound {
		t.Fatalf("before the log has it: %d", got.status)
	}
	w.box.logs[sends].Append([32]byte{31: 1})
	w.clock.advance(checkpointAtMost)
	if got := w.call("GET", tile, nil); got.status != http.StatusOK {
		t.Errorf("as soon as another may show that it is there: %d", got.status)
	}
}

// TestTheLastGoodStateStays: without the ballot server, what was read goes on being served.
func TestTheLastGoodStateStays(t *testing.T) {
	w := newWorld(t)
	first := w.call("GET", "/v1/polls/sends/turnout", nil)
	w.box.breakReads(errors.New("no route to host"))
	w.clock.advance(time.Hour)
	w.server.polls.refresh(t.Context())
	for _, path := range []string{"/v1/polls", "/v1/polls/sends"} {
		if got := w.call("GET", path, nil); got.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	if got := w.call("GET", "/v1/polls/sends/turnout", nil); string(got.body) != string(first.body) {
		t.Errorf("turnout: %d %s", got.status, got.body)
	}
	w.open(sends, w.someone())
	if got := w.call("GET", "/v1/polls/sends/log/checkpoint", nil).problem(t); string(got.Code) != string(problem.Unavailable) {
		t.Errorf("what was never read is %s", got.Code)
	}
	if n := strings.Count(w.log.String(), "the last state stays"); n != 1 {
		t.Errorf("the log complains %d times, want once", n)
	}
}

// TestAChangeIsSeenWithinASecond: the state in the list is looked at every second.
func TestAChangeIsSeenWithinASecond(t *testing.T) {
	w := newWorld(t)
	w.box.set(sends, poll.Paused)
	deadline := time.Now().Add(5 * time.Second)
	for {
		got := read[channelsapi.SignedManifest](t, w.call("GET", "/v1/polls/sends", nil), http.StatusOK)
		if got.Document.State == "paused" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("still open after five seconds")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestABundleThatBreaksOffIsNotTakenForWhole(t *testing.T) {
	w := newWorld(t, published)
	w.box.breakReads(errors.New("disk"))
	if got := w.call("GET", "/v1/polls/sends/bundle", nil).problem(t); string(got.Code) != string(problem.Internal) {
		t.Errorf("before the first byte: %s", got.Code)
	}
	defer func() {
		if v := recover(); v != http.ErrAbortHandler { //nolint:errorlint // panics with this very value
			t.Errorf("after the first byte: %v, want the connection cut", v)
		}
	}()
	w.box.breakReads(nil)
	w.server.Handler().ServeHTTP(&choking{}, w.request("GET", "/v1/polls/sends/bundle", nil))
}

// choking is a connection that breaks after the headers.
type choking struct{ discard }

func (*choking) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func (b *box) breakReads(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failRead = err
}

func (b *box) total() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, c := range b.calls {
		n += c
	}
	return n
}

func TestTilePaths(t *testing.T) {
	for path, want := range map[string]tile{
		"0/000":            {0, 0, 256},
		"0/x001/067":       {0, 1067, 256},
		"3/x001/x234/067":  {3, 1234067, 256},
		"0/x001/067.p/255": {0, 1067, 255},
		"63/000.p/1":       {63, 0, 1},
	} {
		if got, ok := parseTile(path); !ok || got != want {
			t.Errorf("%s: %v, %v", path, got, ok)
		}
	}
	for _, path := range []string{
		"", "0", "0/", "0/0", "0/00", "0/0000", "0/x000", "0/x000/000", "0/001/067", "64/000", "00/000", "-1/000", "0/000.p/0", "0/000.p/256", "0/000.p/01",
		"0/000.p/", "0/+00", "0/x001/067/", "/0/000", "0/000.p/1/2", "0/../000", "data/000", "0/x001/x001/x001/x001/x001/001", strings.Repeat("0", 99),
	} {
		if got, ok := parseTile(path); ok {
			t.Errorf("%q is %v", path, got)
		}
	}
	for _, c := range []struct {
		tile tile
		size uint64
		want bool
	}{
		{tile{0, 0, 256}, 255, false},
		{tile{0, 0, 256}, 256, true},
		{tile{0, 1, 44}, 300, true},
		{tile{0, 1, 45}, 300, false},
		{tile{1, 0, 1}, 300, true},
		{tile{1, 0, 2}, 300, false},
		{tile{63, 0, 1}, 1 << 62, false},
		{tile{0, 1 << 62, 256}, 300, false},
	} {
		if got := c.tile.within(c.size); got != c.want {
			t.Errorf("%v within %d: %v", c.tile, c.size, got)
		}
	}
}

func TestProblemPages(t *testing.T) {
	w := newWorld(t)
	for _, row := range problem.Table {
		got := w.call("GET", "/problems/"+string(row.Code), nil)
		if got.status != http.StatusOK || !strings.Contains(string(got.body), string(row.Code)) || !strings.Contains(string(got.body), row.Title[:8]) {
			t.Errorf("%s: %d", row.Code, got.status)
		}
	}
	if got := w.call("GET", "/problems/", nil); strings.Count(string(got.body), "<li>") != len(problem.Table) {
		t.Error("the index is not whole")
	}
	if got := w.call("GET", "/problems/made-up", nil); got.status != http.StatusNotFound {
		t.Errorf("a made-up problem: %d", got.status)
	}
}

// TestAnOpenPollHasItsKeysBeforeTheFirstVoter: the first voter must not be the one to find out that keys
// cannot be made, on a full disk for instance.
func TestAnOpenPollHasItsKeysBeforeTheFirstVoter(t *testing.T) {
	w := newWorld(t)
	ring, err := keyring.Inspect(w.keyFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range w.server.polls.snapshot().byID {
		for _, purpose := range []keyring.Purpose{keyring.VoterTags, keyring.PhoneTags} {
			there := slices.Contains(ring.Held, string(purpose)+"/"+one.manifest.ID)
			if open := one.manifest.State == poll.Open; there != open {
				t.Errorf("poll %s is %s, and its %s are there: %t", one.manifest.ID, one.manifest.State, purpose, there)
			}
		}
	}
}

// TestADestroyedKeyIsUsedNoMore: once another process has destroyed it, an API server that goes on running has
// no copy of its own.
func TestADestroyedKeyIsUsedNoMore(t *testing.T) {
	w := newWorld(t)
	p := w.someone()
	w.open(sends, p)
	elsewhere, err := keyring.OpenFile(w.keyFile, w.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := elsewhere.Destroy(t.Context(), keyring.VoterTags, sends); err != nil {
		t.Fatal(err)
	}
	go w.keys.Follow(t.Context(), 10*time.Millisecond)
	for tries := 0; ; tries++ {
		got := w.call("POST", "/v1/polls/"+sends+"/sessions", w.sessionBody(p))
		if got.status == http.StatusServiceUnavailable {
			break
		}
		if tries == 500 {
			t.Fatalf("it makes tags still: %d %s", got.status, got.body)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

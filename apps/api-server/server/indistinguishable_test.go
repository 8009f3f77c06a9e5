package server

import (
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/channelsapi"
)

// samples of each kind.
const samples = 2000

// limitFor is what the distance of two samples of n from one distribution passes once in a million
// runs: sqrt(ln(2/1e-6)/2) · sqrt(2/n) (Kolmogorov–Smirnov, two samples).
func limitFor(n int) float64 { return math.Sqrt(math.Log(2/1e-6)/2) * math.Sqrt(2/float64(n)) }

// TestWhoHasVotedDoesNotShow: before the last step, somebody who has voted and somebody who has not
// get the same answer in status, headers, shape and time.
func TestWhoHasVotedDoesNotShow(t *testing.T) {
	w := newWorld(t)
	var voted, fresh []person
	for range 50 {
		p := w.someone()
		if got := w.cast(w.verify(p), someKey, w.sealed(sends)); got.status != http.StatusCreated {
			t.Fatalf("%d %s", got.status, got.body)
		}
		voted, fresh = append(voted, p), append(fresh, w.someone())
	}
	times := sample(w, samples, w.server.Handler(), voted, fresh)
	if d := distance(times[0], times[1]); d > limitFor(samples) {
		t.Errorf("the times of voters (median %v) and others (median %v) differ: distance %.3f, limit %.3f",
			median(times[0]), median(times[1]), d, limitFor(samples))
	}
}

// TestTheTimingTestSees: a server that takes longer for those who have voted is found out by the very
// same comparison. The difference is as long as an answer itself, so that it is seen on any machine.
func TestTheTimingTestSees(t *testing.T) {
	const few = samples / 4
	w := newWorld(t)
	var voted, fresh []person
	names := map[string]bool{}
	for range 50 {
		voted, fresh = append(voted, w.someone()), append(fresh, w.someone())
		names[voted[len(voted)-1].hkid] = true
	}
	usual := sample(w, 50, w.server.Handler(), voted, fresh)
	extra := median(usual[0])
	leaky := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if names[r.Header.Get("X-Test-Who")] {
			for start := time.Now(); time.Since(start) < extra; {
			}
		}
		w.server.Handler().ServeHTTP(rw, r)
	})
	times := sample(w, few, leaky, voted, fresh)
	if d := distance(times[0], times[1]); d <= limitFor(few) {
		t.Errorf("%v of difference were not seen: distance %.3f", extra, d)
	}
}

// sample starts sessions of both kinds, drawn by lot, so that what disturbs one disturbs the other.
func sample(w *world, n int, handler http.Handler, kinds ...[]person) [2][]time.Duration {
	w.t.Helper()
	var times [2][]time.Duration
	var shape [2]string
	for len(times[0]) < n || len(times[1]) < n {
		kind := rand.IntN(2)
		p := kinds[kind][rand.IntN(len(kinds[kind]))]
		r := w.request("POST", sessionsPath, w.sessionBodyQuietly(p), with("X-Test-Who", p.hkid))
		recorder := httptest.NewRecorder()
		start := time.Now()
		handler.ServeHTTP(recorder, r)
		took := time.Since(start)
		if len(times[kind]) < n {
			times[kind] = append(times[kind], took)
		}
		form := shapeOfAnswer(w.t, recorder)
		if shape[kind] == "" {
			shape[kind] = form
		}
		if shape[kind] != form {
			w.t.Fatalf("two answers of one kind differ:\n%s\n%s", shape[kind], form)
		}
	}
	if shape[0] != shape[1] {
		w.t.Errorf("the answers differ:\n%s\n%s", shape[0], shape[1])
	}
	return times
}

// sessionBodyQuietly is sessionBody without holding the challenge to the description each time.
func (w *world) sessionBodyQuietly(p person) object {
	recorder := httptest.NewRecorder()
	w.server.Handler().ServeHTTP(recorder, w.request("GET", "/v1/challenge", nil))
	return object{"identity": object{"type": "hkid", "number": p.hkid}, "phone": p.phone, "challenge": solved(w.t, recorder.Body.Bytes())}
}

// shapeOfAnswer is everything of an answer but what is random by design, with the lengths of that.
func shapeOfAnswer(t testing.TB, r *httptest.ResponseRecorder) string {
	t.Helper()
	var s channelsapi.Session
	if err := json.Unmarshal(r.Body.Bytes(), &s); err != nil {
		t.Fatalf("%d %s", r.Code, r.Body)
	}
	blank := func(s string) string { return strings.Repeat("x", len(s)) }
	s.AccessToken = blank(s.AccessToken)
	text, link := blank(*s.Verification.Text), blank(*s.Verification.SmsLink)
	s.Verification.Text, s.Verification.SmsLink = &text, &link
	s.ExpiresAt, s.Verification.Deadline = time.Time{}, time.Time{}
	body, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var headers []string
	for _, name := range slices.Sorted(maps.Keys(r.Header())) {
		value := r.Header().Get(name)
		if name == "Ratelimit" {
			value, _, _ = strings.Cut(value, ";") // how much is left goes down with every request
		}
		headers = append(headers, name+": "+value)
	}
	return http.StatusText(r.Code) + "\n" + strings.Join(headers, "\n") + "\n" + string(body)
}

// distance is the two-sample Kolmogorov–Smirnov statistic: the largest difference of the two
// distribution functions. A few slow requests, such as garbage collections cause, hardly move it.
func distance(a, b []time.Duration) float64 {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	var d float64
	for i, j := 0, 0; i < len(a) && j < len(b); {
		at := min(a[i], b[j])
		for i < len(a) && a[i] <= at {
			i++
		}
		for j < len(b) && b[j] <= at {
			j++
		}
		d = max(d, math.Abs(float64(i)/float64(len(a))-float64(j)/float64(len(b))))
	}
	return d
}

func median(d []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(d))[len(d)/2]
}

package chaos_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/popvote/popvote/apps/e2e/chaos"
)

func first(seed uint64, n int) (faults []chaos.Fault) {
	for f := range chaos.Plan(seed, chaos.Apart) {
		if faults = append(faults, f); len(faults) == n {
			break
		}
	}
	return faults
}

// A seed is a sequence of faults, and every round has each of them.
func TestASeedReproduces(t *testing.T) {
	once := first(7, 60)
	if !slices.Equal(once, first(7, 60)) {
		t.Error("the same seed gave other faults")
	}
	if slices.Equal(once, first(8, 60)) {
		t.Error("another seed gave the same faults")
	}
	for round := range slices.Chunk(once, len(chaos.Apart)) {
		for _, k := range chaos.Apart {
			if !slices.ContainsFunc(round, func(f chaos.Fault) bool { return f.Kind == k }) {
				t.Errorf("a round without %s: %v", k, round)
			}
		}
	}
}

// A reset cast has reached the server, and its client does not hear the answer; everything else passes.
func TestResetAfterTheAnswer(t *testing.T) {
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		served.Add(1)
		_, _ = io.WriteString(w, "recorded")
	}))
	defer server.Close()
	p, err := chaos.Listen(strings.TrimPrefix(server.URL, "http://"), chaos.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	cast := func(path string) bool {
		res, err := client.Post("http://"+p.Address()+path, "text/plain", strings.NewReader("a ballot"))
		if err != nil {
			return false
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		return err == nil && string(body) == "recorded"
	}
	p.ResetCasts(2)
	got := []bool{cast("/v1/sessions"), cast("/v1/ballots"), cast("/v1/ballots"), cast("/v1/ballots"), cast("/v1/sessions")}
	if !slices.Equal(got, []bool{true, false, false, true, true}) {
		t.Errorf("answers heard: %v", got)
	}
	if served.Load() != 5 {
		t.Errorf("%d requests reached the server, want 5", served.Load())
	}
}

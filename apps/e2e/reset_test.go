package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/e2e/apart"
	"github.com/popvote/popvote/apps/e2e/chaos"
	"github.com/popvote/popvote/libs/pgcluster"
)

// Connections are reset after COMMIT, on each stretch of the way: the database has recorded, and the ballot
// server never hears so; the ballot server has, and the API server does not hear; the API server has, and
// the voter does not. Nothing is lost, nothing is there twice.
func TestResetAfterCommit(t *testing.T) {
	t.Parallel()
	const resets = 4 // of each stretch, each time
	on := wires(t)
	s := site(t, apart.Options{Postgres: &pgcluster.Options{}, Ballots: 2, Polls: []string{referendum}, Via: on.via})
	worlds := everywhere(t, s, referendum)
	h := record(t)
	l := startLoads(t, worlds, h, 800, 16)
	for range 2 {
		for _, stretch := range []string{apart.ViaDatabase, apart.ViaBallots, apart.ViaAPIs} {
			if len(on.by[stretch]) == 0 {
				t.Fatalf("no connection goes by way of a proxy for %s", stretch)
			}
			for _, proxy := range on.by[stretch] {
				l.until(t, 5)
				proxy.ResetCasts(resets)
				spent(t, proxy)
			}
		}
	}
	l.until(t, 20)
	l.end()
	heard := 0
	for _, box := range s.Ballots {
		heard += strings.Count(box.Logged(), "a batch's outcome is unknown; recording it again")
	}
	if heard == 0 {
		t.Error("no ballot server lost a connection after COMMIT")
	}
	report := h.closeApart(t, s, worlds)
	if report.Voters < 50 || report.Unknown == 0 {
		t.Errorf("%d voters acknowledged, %d casts cut off: that proves little", report.Voters, report.Unknown)
	}
	t.Logf("%d batches were recorded again", heard)
}

// spent waits until a proxy has reset all that it should.
func spent(t *testing.T, proxy *chaos.Proxy) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); proxy.Left() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections were not reset: nothing goes by way of the proxy", proxy.Left())
		}
	}
}

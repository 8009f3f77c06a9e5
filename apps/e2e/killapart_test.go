package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/popvote/popvote/apps/e2e/apart"
	"github.com/popvote/popvote/apps/e2e/voter"
	"github.com/popvote/popvote/libs/pgcluster"
)

// everywhere connects voters to each API server of a site.
func everywhere(t *testing.T, s *apart.Site, poll string) (worlds []*voter.World) {
	t.Helper()
	for _, api := range s.APIs {
		worlds = append(worlds, s.Voters(t.Context(), api, poll))
	}
	return worlds
}

// killDatabase kills a PostgreSQL server and all of its processes, and has it recover.
func killDatabase(t *testing.T, server *pgcluster.Node) {
	t.Helper()
	if err := server.Kill9(); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
}

// The programs apart are killed fifty times while voters vote: two ballot servers, by signal and at each
// named point of a commit, two API servers, and the PostgreSQL server that keeps the box. Whatever was
// acknowledged is in the tally, once; whatever is in the tally was acknowledged or under way.
func TestKillNineApart(t *testing.T) {
	t.Parallel()
	const between = 20 // voters acknowledged from one death to the next
	s := faultySite(t, apart.Options{Postgres: &pgcluster.Options{}, Ballots: 2, Polls: []string{referendum}})
	worlds := everywhere(t, s, referendum)
	h := record(t)
	l := startLoads(t, worlds, h, 400, 24)
	again := func(p *apart.Program) {
		p.Kill()
		p.Restart()
	}
	var deaths []func()
	for n := range 16 {
		deaths = append(deaths, func() { again(s.Ballots[n%2]) })
	}
	for n := range 12 {
		deaths = append(deaths, func() { again(s.APIs[n%2]) })
	}
	for range 10 {
		deaths = append(deaths, func() { killDatabase(t, s.Database.Primary()) })
	}
	for n := range 12 {
		box, point := s.Ballots[n%2], crashPoints[n/2%len(crashPoints)]
		deaths = append(deaths, func() {
			box.Kill()
			box.RestartToDie(fmt.Sprintf("%s:%d", point, 1+rand.IntN(20)))
			box.Restart()
		})
	}
	for _, n := range rand.Perm(len(deaths)) {
		l.until(t, rand.IntN(2*between))
		deaths[n]()
	}
	l.until(t, between)
	l.end()
	report := h.closeApart(t, s, worlds)
	if report.Voters < len(deaths)*between/2 {
		t.Errorf("only %d voters were acknowledged: that proves little", report.Voters)
	}
	if report.Unknown == 0 || report.Snapshots == 0 {
		t.Error("no cast was cut off, or nobody looked at the log: that proves little")
	}
}

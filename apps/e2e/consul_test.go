package e2e_test

import (
	"strings"
	"testing"

	"github.com/popvote/popvote/apps/e2e/apart"
	"github.com/popvote/popvote/apps/e2e/voter"
	"github.com/popvote/popvote/libs/consultest"
	"github.com/popvote/popvote/libs/pgcluster"
	"github.com/popvote/popvote/libs/service/servicetest"
)

// The programs are told no address but Consul's, and find each other while voters vote: a ballot server
// leaves, Consul dies, another ballot server dies that is then still on everybody's list, and when Consul is
// back, the one that is left is known from it alone. Voting goes on, and no vote is lost.
func TestFoundByConsul(t *testing.T) {
	t.Parallel()
	const some = 40 // voters acknowledged from one thing to the next
	agent := consultest.Start(t)
	s := site(t, apart.Options{Postgres: &pgcluster.Options{}, Ballots: 3, Consul: agent, Polls: []string{referendum, lunch}})
	worlds := everywhere(t, s, referendum)
	h := record(t)
	l := startLoads(t, worlds, h, 1000, 16)
	l.until(t, some)
	for n, api := range s.APIs {
		if _, err := verified(t.Context(), s.Voters(t.Context(), api, lunch), voter.NewPerson(1050, n)); err != nil {
			t.Errorf("a code that a gateway has to send: %v", err)
		}
	}

	s.Deregister(0)
	s.Ballots[0].Kill()
	l.until(t, some)

	agent.Kill()
	for _, api := range s.APIs {
		servicetest.Eventually(t, "http://"+api.At["admin"]+"/readyz", `{"state":"degraded","checks"`)
	}
	l.until(t, some)
	s.Ballots[1].Kill()
	l.until(t, some)

	agent.Restart()
	s.Ballots[0].Restart()
	s.Register(0)
	s.Ballots[2].Kill()
	l.until(t, some)

	l.end()
	if report := h.closeApart(t, s, worlds); report.Voters < 5*some {
		t.Errorf("only %d voters were acknowledged", report.Voters)
	}
	for _, api := range s.APIs {
		if said := api.Logged(); !strings.Contains(said, "Consul answers again") {
			t.Error("an API server never asked Consul")
		}
	}
}

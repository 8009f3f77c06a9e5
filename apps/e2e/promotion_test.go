package e2e_test

import (
	"testing"
	"time"

	"github.com/popvote/popvote/apps/e2e/apart"
	"github.com/popvote/popvote/apps/e2e/votecheck"
	"github.com/popvote/popvote/apps/e2e/voter"
	"github.com/popvote/popvote/libs/pgcluster"
)

// promotion is a poll whose database loses its primary while voters vote.
type promotion struct {
	t     *testing.T
	site  *apart.Site
	h     *history
	began time.Time // of the history's times

	worlds []*voter.World
	load   *load
}

// startPromotion has voters at two API servers, before two ballot servers, on a primary with two standbys.
func startPromotion(t *testing.T, sync bool) *promotion {
	t.Helper()
	p := &promotion{t: t, site: site(t, apart.Options{
		Postgres: &pgcluster.Options{Standbys: 2, Sync: sync}, Ballots: 2, Polls: []string{referendum},
	})}
	p.h, p.began = record(t), time.Now()
	p.worlds = everywhere(t, p.site, referendum)
	p.load = startLoads(t, p.worlds, p.h, 2000, 20)
	p.load.until(t, 100)
	return p
}

// now is the time on the history's clock.
func (p *promotion) now() time.Duration { return time.Since(p.began) }

// fallBehind cuts one of the standbys off, and waits until it lacks what was acknowledged since.
func (p *promotion) fallBehind() *pgcluster.Node {
	p.t.Helper()
	stale := p.site.Database.Standbys()[0]
	if err := stale.Follow(nil); err != nil {
		p.t.Fatal(err)
	}
	p.load.until(p.t, 30)
	return stale
}

// gap is the longest time in which no ballot was acknowledged.
func (p *promotion) gap() (from, to time.Duration) {
	p.t.Helper()
	last := time.Duration(-1)
	for _, e := range p.h.events(p.t) {
		if e.Type != votecheck.OK {
			continue
		}
		if at := time.Duration(e.At); last >= 0 && at-last > to-from {
			from, to = last, at
		}
		last = time.Duration(e.At)
	}
	return from, to
}

// The primary dies, or freezes, while voters vote, and one of two synchronous standbys takes its place;
// the other had been cut off before and lacks votes. The frozen one comes back and thinks that it is the
// primary. Nobody restarts any program. Whatever was acknowledged is in the tally, once.
func TestPromotion(t *testing.T) {
	t.Parallel()
	for _, how := range []struct {
		name string
		end  func(*pgcluster.Node) error
		back func(*pgcluster.Node) error
	}{
		{"killed", (*pgcluster.Node).Kill9, nil},
		{"frozen", (*pgcluster.Node).Pause, (*pgcluster.Node).Resume},
	} {
		t.Run(how.name, func(t *testing.T) {
			p := startPromotion(t, true)
			primary, stale := p.site.Database.Primary(), p.fallBehind()
			if err := how.end(primary); err != nil {
				t.Fatal(err)
			}
			lost := p.now()
			leader, err := p.site.Database.Failover()
			if err != nil {
				t.Fatal(err)
			}
			replaced := p.now()
			if leader == stale {
				t.Fatal("the standby that lacks votes was promoted")
			}
			p.load.until(t, 100)
			if how.back != nil {
				if err := how.back(primary); err != nil {
					t.Fatal(err)
				}
				p.load.until(t, 100)
			}
			p.load.end()
			p.h.closeApart(t, p.site, p.worlds)
			from, to := p.gap()
			t.Logf("no ballot was acknowledged for %v, from %v before the primary was %s; failing over took %v, and the first ballot came %v later",
				(to - from).Round(time.Millisecond), (lost - from).Round(time.Millisecond), how.name,
				(replaced - lost).Round(time.Millisecond), (to - replaced).Round(time.Millisecond))
		})
	}
}

// The negative control is the same run where commits wait for no standby, and the one that lacks votes
// is promoted: the checker must miss them.
func TestAStalePromotionIsCaught(t *testing.T) {
	t.Parallel()
	p := startPromotion(t, false)
	stale := p.fallBehind()
	if err := p.site.Database.Primary().Kill9(); err != nil {
		t.Fatal(err)
	}
	if err := stale.Promote(); err != nil {
		t.Fatal(err)
	}
	p.load.until(t, 30)
	p.load.end()
	p.site.Operator.Move(referendum, "close")
	report := votecheck.Check(p.h.events(t), final(t, p.site.Publish(referendum)))
	found := map[votecheck.Rule]int{}
	for _, v := range report.Violations {
		found[v.Rule]++
	}
	if found[votecheck.Lost] == 0 {
		t.Fatalf("a standby that lacked votes was promoted, and the checker saw nothing: %+v", report)
	}
	t.Logf("of %d voters who were acknowledged, the checker found this: %v", report.Voters, found)
}

package e2e_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/popvote/popvote/apps/e2e/apart"
	"github.com/popvote/popvote/apps/e2e/votecheck"
	"github.com/popvote/popvote/apps/e2e/voter"
	"github.com/popvote/popvote/libs/ballotlog"
	"github.com/popvote/popvote/libs/pgcluster"
)

// logSite is two ballot servers that share a poll's log, voters who make it grow, and who watches it.
type logSite struct {
	*apart.Site
	t      *testing.T
	worlds []*voter.World
	h      *history
	load   *load
	key    note.Verifier
	seen   ballotlog.Tree
}

func newLogSite(t *testing.T, run int) *logSite {
	t.Helper()
	s := faultySite(t, apart.Options{Postgres: &pgcluster.Options{}, Ballots: 2, Polls: []string{referendum}})
	l := &logSite{Site: s, t: t, worlds: everywhere(t, s, referendum), h: record(t)}
	var err error
	if l.key, err = note.NewVerifier(l.worlds[0].Manifest.LogKey); err != nil {
		t.Fatal(err)
	}
	l.load = startLoads(t, l.worlds, l.h, run, 16)
	return l
}

// Checkpoint implements ballotlog.Source.
func (l *logSite) Checkpoint(ctx context.Context) ([]byte, error) {
	text, err := l.public().Checkpoint(ctx)
	return []byte(text), err
}

// Tile implements ballotlog.Source.
func (l *logSite) Tile(ctx context.Context, path string) ([]byte, error) {
	return l.public().Tile(ctx, path)
}

func (l *logSite) public() votecheck.Public {
	w := l.worlds[0]
	return votecheck.Public{Client: w.HTTP, Origin: w.Origin, Poll: referendum}
}

// grows waits until the published log is larger than it has been at any time until now, and wants it to
// continue what was last seen of it.
func (l *logSite) grows(who string) {
	l.t.Helper()
	from := l.Logged(referendum)
	var err error
	for deadline := time.Now().Add(apart.Patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		var now *ballotlog.Checkpoint
		if now, err = ballotlog.Newest(l.t.Context(), l, l.key, l.seen.N, ballotlog.Patience); err != nil || now.Tree.N <= from {
			continue
		}
		if err = ballotlog.Consistent(l.t.Context(), l, l.seen, now.Tree); err != nil {
			l.t.Fatalf("%s: from %d ballots to %d: %v", who, l.seen.N, now.Tree.N, err)
		}
		l.seen = now.Tree
		return
	}
	l.t.Fatalf("%s: the log stays at %d ballots: %v", who, from, err)
}

// ready waits until enough ballots wait for the log that whoever starts next extends it first of all, and
// kills both ballot servers then. The API servers stand still until goOn, so that nothing else is to be done.
func (l *logSite) ready() {
	l.t.Helper()
	for range 50 {
		l.load.until(l.t, 80)
		for _, box := range l.Ballots {
			box.Kill()
		}
		if l.Waiting(referendum) >= 64 {
			for _, api := range l.APIs {
				api.Freeze()
			}
			return
		}
		for _, box := range l.Ballots {
			box.Restart()
		}
	}
	l.t.Fatal("ballots never wait for the log")
}

// goOn has a ballot server take over, and the API servers go on.
func (l *logSite) goOn(heir *apart.Program) {
	l.t.Helper()
	heir.Restart()
	for _, api := range l.APIs {
		api.Thaw()
	}
}

// finish lets both go on, and judges.
func (l *logSite) finish() {
	l.t.Helper()
	l.load.until(l.t, 20)
	l.load.end()
	if report := l.h.closeApart(l.t, l.Site, l.worlds); report.Snapshots == 0 {
		l.t.Error("nobody looked at the log: that proves little")
	}
}

// The log has no one server that keeps it: whichever has just extended it is killed, and the other goes on.
// So is one that dies in the middle: before the extension is durable, which then has not been, and after,
// which then has. Each takes its turn, and what is published is the same log throughout.
func TestTheLogIsTakenOver(t *testing.T) {
	t.Parallel()
	l := newLogSite(t, 900)
	for n, dies := range l.Ballots {
		heir := l.Ballots[1-n]
		heir.Freeze()
		l.grows("while the other is frozen")
		dies.Kill()
		heir.Thaw()
		l.grows("after the one that extended it was killed")
		dies.Restart()
	}
	for n, dies := range l.Ballots {
		heir := l.Ballots[1-n]
		for _, point := range []string{"after-insert", "after-commit"} {
			l.ready()
			before := l.Logged(referendum)
			// The first thing that it commits is the log: nobody else is there.
			dies.RestartToDie(point + ":1")
			if after := l.Logged(referendum); (after > before) != (point == "after-commit") {
				t.Fatalf("it died %s, and the log went from %d to %d ballots", point, before, after)
			}
			l.goOn(heir)
			l.grows(fmt.Sprintf("after the other died %s", point))
			dies.Restart()
		}
	}
	l.finish()
}

// A ballot server stands still in the middle of extending the log, for so long that the other goes on
// without it; then it wakes and finishes what it was at, with the size that the log had. The database has
// given it up: nothing of it is in the log, and it goes on from where the other came to.
func TestAServerThatSleptOverTheLogIsFenced(t *testing.T) {
	t.Parallel()
	l := newLogSite(t, 950)
	for n, sleeps := range l.Ballots {
		heir := l.Ballots[1-n]
		l.ready()
		before := l.Logged(referendum)
		sleeps.RestartToFreeze("after-insert:1")
		if after := l.Logged(referendum); after != before {
			t.Fatalf("it sleeps before COMMIT, and the log went from %d to %d ballots", before, after)
		}
		l.goOn(heir)
		l.grows("while the other sleeps")
		sleeps.Thaw()
		sleeps.Await(`"msg":"the ticker failed"`)
		l.grows("after the other woke")
		heir.Kill()
		l.grows("by the one that slept")
		heir.Restart()
	}
	l.finish()
}

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/e2e/apart"
	"github.com/popvote/popvote/apps/e2e/instance"
	"github.com/popvote/popvote/apps/e2e/voter"
	"github.com/popvote/popvote/libs/pgcluster"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/service/servicetest"
)

// site starts every program by itself, with popvote's binary and those that were built for all tests.
func site(t *testing.T, o apart.Options) *apart.Site {
	t.Helper()
	return siteOf(t, programs, o)
}

// faultySite is site with binaries that can be made to fail.
func faultySite(t *testing.T, o apart.Options) *apart.Site {
	t.Helper()
	return siteOf(t, faultyPrograms, o)
}

func siteOf(t *testing.T, programs func() (string, error), o apart.Options) *apart.Site {
	t.Helper()
	var err error
	if o.Binaries, err = programs(); err != nil {
		t.Fatal(err)
	}
	o.Popvote = popvote
	return apart.NewSite(t, o)
}

// TestApart votes through the four programs, two API servers and, on PostgreSQL, two ballot servers: who
// begins at the one casts at the other, because nothing of a session is in either. An operator closes,
// counts and publishes through the panel, and what is published is checked as everybody can.
func TestApart(t *testing.T) {
	t.Parallel()
	polls := []string{referendum, lunch}
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		voteAndCount(t, site(t, apart.Options{Postgres: &pgcluster.Options{}, Ballots: 2, Polls: polls}))
	})
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		s := site(t, apart.Options{Polls: polls})
		voteAndCount(t, s)
		// The box was left in order: what runs in one process goes on with it.
		again := instance.Start(t, popvote, instance.Options{Data: s.Data})
		if out := again.Do("show", lunch, "-o", "json"); !strings.Contains(out, `"published"`) {
			t.Errorf("in one process again, the poll is\n%s", out)
		}
		if code := again.Stop(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
}

// voteAndCount has people vote in a site's polls, and each poll counted.
func voteAndCount(t *testing.T, s *apart.Site) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for run, poll := range []string{referendum, lunch} {
		h := record(t)
		worlds := make([]*voter.World, len(s.APIs))
		for i, api := range s.APIs {
			worlds[i] = s.Voters(ctx, api, poll)
		}
		const people = 10
		var all sync.WaitGroup
		for n := range people {
			all.Go(func() {
				person := voter.NewPerson(700+run, n)
				if err := voteApart(ctx, h, worlds[n%2], worlds[n/2%2], worlds[(n+1)%2], person); err != nil {
					t.Errorf("%s, voter %d: %v", poll, n, err)
				}
				for _, p := range s.Programs() {
					if said := p.Logged(); strings.Contains(said, person.HKID) || strings.Contains(said, person.Phone) {
						t.Errorf("a log holds an identity")
					}
				}
			})
		}
		all.Wait()
		if err := voteWithoutRedis(ctx, s, h, worlds[0], voter.NewPerson(700+run, people)); err != nil {
			t.Errorf("%s, without Redis: %v", poll, err)
		}
		for _, api := range s.APIs { // else a code is one server's alone
			servicetest.Eventually(t, "http://"+api.At["admin"]+"/readyz", `{"state":"ready","checks"`)
		}
		s.Operator.Move(poll, "close")
		if err := h.Closed(); err != nil {
			t.Fatal(err)
		}
		if report := h.check(t, s.Publish(poll)); report.Voters != people+1 || report.Box != people+1 {
			t.Errorf("%s: %d people voted: %d acknowledged, %d ballots", poll, people+1, report.Voters, report.Box)
		}
	}
	for _, p := range s.Programs() {
		p.Stop()
	}
}

// voteWithoutRedis casts what was verified before Redis went, with all that it knew, lets somebody in as far
// as that goes without, and brings an empty one back.
func voteWithoutRedis(ctx context.Context, s *apart.Site, h *history, w *voter.World, p voter.Person) error {
	token, err := verified(ctx, w, p)
	if err != nil {
		return err
	}
	mine, err := w.Seal()
	if err != nil {
		return err
	}
	s.Redis.Kill()
	defer s.Redis.Start()
	if _, err := w.Record(ctx, h.Recorder, p, token, mine); err != nil {
		return err
	}
	session, err := w.Identify(ctx, p)
	if err != nil {
		return fmt.Errorf("couldn't begin a session: %w", err)
	}
	if w.Manifest.Verification.Mode == poll.VoterReceives { // the server that sent the code knows it
		_, err := w.Verify(ctx, p, session)
		return err
	}
	if _, err := w.Await(ctx, session.AccessToken); problemCode(err) != "unavailable" {
		return fmt.Errorf("waiting for an SMS that nobody would hear of: %w", err)
	}
	return nil
}

// voteApart takes each step at a server of its own.
func voteApart(ctx context.Context, h *history, begins, verifies, casts *voter.World, p voter.Person) error {
	session, err := begins.Identify(ctx, p)
	if err != nil {
		return fmt.Errorf("couldn't identify: %w", err)
	}
	token, err := verifies.Verify(ctx, p, session)
	if err != nil {
		return fmt.Errorf("couldn't verify: %w", err)
	}
	mine, err := casts.Seal()
	if err != nil {
		return err
	}
	first, err := casts.Record(ctx, h.Recorder, p, token, mine)
	if err != nil {
		return fmt.Errorf("couldn't cast: %w", err)
	}
	again, err := begins.Record(ctx, h.Recorder, p, token, mine)
	if err == nil && again.Code != first.Code {
		err = errors.New("a retry elsewhere got another receipt")
	}
	return err
}

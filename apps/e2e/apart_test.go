package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/e2e/apart"
	"github.com/popvote/popvote/apps/e2e/instance"
	"github.com/popvote/popvote/apps/e2e/voter"
	"github.com/popvote/popvote/libs/redistest"
)

// site is the programs of one site, on a data directory.
type site struct {
	data, binaries, certificates string

	redis                   *redistest.Server
	ballots, gateway, panel *apart.Program
	apis                    []*apart.Program
}

// newSite starts every program by itself, on the sample polls.
func newSite(t *testing.T) *site {
	t.Helper()
	seeded := instance.Start(t, popvote, instance.Options{Args: everybodyAtOnce})
	if code := seeded.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	s := &site{data: seeded.Data, binaries: t.TempDir(), certificates: filepath.Join(t.TempDir(), "certs"), redis: redistest.Start(t)}
	if err := apart.Build(t.Context(), s.binaries, "ballot-server", "sms-gateway", "api-server", "control-panel"); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := instance.Run(t, popvote, "certs", "--dir", s.certificates); code != 0 {
		t.Fatalf("popvote certs: exit code %d\n%s%s", code, stdout, stderr)
	}
	keys := filepath.Join(s.data, "keys.json")
	s.ballots = s.start(t, "ballot-server", 2, "-data", s.data, "-listen", "127.0.0.1:0")
	s.gateway = s.start(t, "sms-gateway", 3, "-simulate", "-listen", "127.0.0.1:0", "-phone-listen", "127.0.0.1:0",
		"-keys", keys, "-redis-address", s.redis.Addr())
	for range 2 {
		s.apis = append(s.apis, s.start(t, "api-server", 2, "-listen", "127.0.0.1:0", "-keys", keys, "-redis-address", s.redis.Addr(),
			"-ballot-servers", s.ballots.At["services"], "-sms-gateways", s.gateway.At["sending"], "-inbound-number", "+85264500000",
			"-trusted-proxies", "none", "-challenge-cost", "1", "-limits-scale", "10000", "-drain", "0s"))
	}
	s.panel = s.start(t, "control-panel", 2, "-listen", "127.0.0.1:0", "-ballot-servers", s.ballots.At["services"])
	return s
}

// programs are all of them, in the order in which they stop.
func (s *site) programs() []*apart.Program {
	return append(append([]*apart.Program{s.panel, s.gateway}, s.apis...), s.ballots)
}

func (s *site) start(t *testing.T, program string, listeners int, args ...string) *apart.Program {
	t.Helper()
	return apart.Start(t, filepath.Join(s.binaries, program), listeners, append(args,
		"-tls", filepath.Join(s.certificates, program), "-admin", "127.0.0.1:0", "-log-level", "debug")...)
}

// TestApart votes through four programs and two API servers: who begins at the one casts at the other,
// because nothing of a session is in either. An operator closes, counts and publishes through the panel,
// and what is published is checked as everybody can.
func TestApart(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	operator := apart.LogIn(t, s.panel)
	for run, poll := range []string{referendum, lunch} {
		h := record(t)
		worlds := make([]*voter.World, len(s.apis))
		for i, api := range s.apis {
			worlds[i] = s.voters(ctx, t, api, poll)
		}
		const people = 10
		var all sync.WaitGroup
		for n := range people {
			all.Go(func() {
				person := voter.NewPerson(700+run, n)
				if err := voteApart(ctx, h, worlds[n%2], worlds[n/2%2], worlds[(n+1)%2], person); err != nil {
					t.Errorf("%s, voter %d: %v", poll, n, err)
				}
				for _, p := range s.programs() {
					if said := p.Logged(); strings.Contains(said, person.HKID) || strings.Contains(said, person.Phone) {
						t.Errorf("a log holds an identity")
					}
				}
			})
		}
		all.Wait()
		if err := s.voteWithoutRedis(ctx, h, worlds[0], voter.NewPerson(700+run, people)); err != nil {
			t.Errorf("%s, without Redis: %v", poll, err)
		}
		operator.Move(poll, "close")
		if err := h.Closed(); err != nil {
			t.Fatal(err)
		}
		shares := filepath.Join(s.data, "trustees", poll)
		operator.Count(poll, filepath.Join(shares, "share-1.json"), filepath.Join(shares, "share-3.json"))
		operator.Move(poll, "publish")
		bundle := operator.Bundle(poll)
		if report := h.check(t, bundle); report.Voters != people+1 || report.Box != people+1 {
			t.Errorf("%s: %d people voted: %d acknowledged, %d ballots", poll, people+1, report.Voters, report.Box)
		}
		if code, stdout, stderr := instance.Run(t, popvote, "verify", bundle); code != 0 {
			t.Errorf("popvote verify: exit code %d\n%s%s", code, stdout, stderr)
		}
	}
	for _, p := range s.programs() {
		p.Stop()
	}
	// The box was left in order: what runs in one process goes on with it.
	again := instance.Start(t, popvote, instance.Options{Data: s.data})
	if out := again.Do("show", lunch, "-o", "json"); !strings.Contains(out, `"published"`) {
		t.Errorf("in one process again, the poll is\n%s", out)
	}
	if code := again.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// voteWithoutRedis casts what was verified before Redis went, with all that it knew, and brings an empty
// one back.
func (s *site) voteWithoutRedis(ctx context.Context, h *history, w *voter.World, p voter.Person) error {
	token, err := verified(ctx, w, p)
	if err != nil {
		return err
	}
	mine, err := seal(w)
	if err != nil {
		return err
	}
	s.redis.Kill()
	defer s.redis.Start()
	if _, err := h.cast(ctx, w, p, token, mine); err != nil {
		return err
	}
	if _, err := w.Identify(ctx, p); problemCode(err) != "unavailable" {
		return fmt.Errorf("a session that nobody can note: %w", err)
	}
	return nil
}

// voters connects to an API server once it has read the polls.
func (s *site) voters(ctx context.Context, t *testing.T, api *apart.Program, poll string) *voter.World {
	t.Helper()
	client := &http.Client{Timeout: 30 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	var w *voter.World
	var err error
	for range 200 {
		if w, err = voter.NewWorld(ctx, "http://"+api.At["voters"], "http://"+s.gateway.At["phone"], poll, client); err == nil {
			return w
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal(err)
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
	mine, err := seal(casts)
	if err != nil {
		return err
	}
	first, err := h.cast(ctx, casts, p, token, mine)
	if err != nil {
		return fmt.Errorf("couldn't cast: %w", err)
	}
	again, err := h.cast(ctx, begins, p, token, mine)
	if err == nil && again.Code != first.Code {
		err = errors.New("a retry elsewhere got another receipt")
	}
	return err
}

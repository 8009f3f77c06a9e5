package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/e2e/apart"
	"github.com/popvote/popvote/apps/e2e/chaos"
	"github.com/popvote/popvote/apps/e2e/instance"
	"github.com/popvote/popvote/apps/e2e/votecheck"
	"github.com/popvote/popvote/libs/pgcluster"
)

// boundedChaos is how long it goes on where nobody asks for more (CHAOS_TIME).
const boundedChaos = 20 * time.Second

// Everything goes wrong, again and again, for as long as CHAOS_TIME says, while voters retry, and duplicates
// arrive late: processes are killed, die at each point of a commit, stand still, and lose connections after
// COMMIT. It happens to everything in one process, and to the programs apart on PostgreSQL. CHAOS_SEED
// repeats a sequence of faults.
func TestChaos(t *testing.T) {
	t.Parallel()
	length, seed := chaosOrders(t)
	t.Logf("CHAOS_SEED=%d CHAOS_TIME=%s", seed, length)
	t.Run("together", func(t *testing.T) {
		t.Parallel()
		i := faultyDemo(t)
		proxy := listen(t, strings.TrimPrefix(i.Voters, "http://"), chaos.HTTP)
		w := votersAt(t, i, "http://"+proxy.Address(), referendum)
		h := record(t)
		l := startLoad(t, w, h, 1500, 16)
		faults := inflict(t, length, seed, chaos.Together, func(f chaos.Fault) { i = suffer(t, i, proxy, f) })
		l.until(t, 20)
		l.end()
		i.Do("close", referendum, "--yes")
		if err := h.Closed(); err != nil {
			t.Fatal(err)
		}
		proves(t, h.finish(t, i, w), faults)
	})
	t.Run("apart", func(t *testing.T) {
		t.Parallel()
		on := wires(t)
		s := faultySite(t, apart.Options{Postgres: &pgcluster.Options{}, Ballots: 2, Polls: []string{referendum}, Via: on.via})
		worlds := everywhere(t, s, referendum)
		h := record(t)
		l := startLoads(t, worlds, h, 1600, 16)
		faults := inflict(t, length, seed, chaos.Apart, func(f chaos.Fault) { sufferApart(t, s, on, f) })
		l.until(t, 20)
		l.end()
		proves(t, h.closeApart(t, s, worlds), faults)
	})
}

// inflict has a seed's faults happen for that long, and at least one of each kind, and returns how many.
func inflict(t *testing.T, length time.Duration, seed uint64, kinds []chaos.Kind, suffer func(chaos.Fault)) int {
	t.Helper()
	began, faults := time.Now(), 0
	for f := range chaos.Plan(seed, kinds) {
		if time.Since(began) > length && faults >= len(kinds) {
			break
		}
		time.Sleep(f.Wait)
		t.Logf("%8s fault %d: %s", time.Since(began).Truncate(time.Millisecond), faults, f)
		suffer(f)
		faults++
	}
	return faults
}

// proves wants enough to have happened.
func proves(t *testing.T, report *votecheck.Report, faults int) {
	t.Helper()
	if report.Voters < 5*faults || report.Unknown == 0 {
		t.Errorf("%d faults, %d voters acknowledged, %d casts cut off: that proves little", faults, report.Voters, report.Unknown)
	}
}

// listen is a proxy that ends with the test.
func listen(t *testing.T, target string, wire chaos.Wire) *chaos.Proxy {
	t.Helper()
	proxy, err := chaos.Listen(target, wire)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	return proxy
}

// wired is a site's connections, each by way of a proxy: by what they lead to, and in the order in which
// the site has those.
type wired struct {
	t  *testing.T
	by map[string][]*chaos.Proxy
	at map[string]string
}

func wires(t *testing.T) *wired {
	return &wired{t: t, by: map[string][]*chaos.Proxy{}, at: map[string]string{}}
}

// via is what apart.Options asks for.
func (w *wired) via(what, address string) string {
	w.t.Helper()
	if w.at[address] == "" {
		proxy := listen(w.t, address, map[string]chaos.Wire{
			apart.ViaAPIs: chaos.HTTP, apart.ViaBallots: chaos.Sealed, apart.ViaDatabase: chaos.Postgres,
		}[what])
		w.by[what] = append(w.by[what], proxy)
		w.at[address] = proxy.Address()
	}
	return w.at[address]
}

// chaosOrders reads for how long, and which faults.
func chaosOrders(t *testing.T) (length time.Duration, seed uint64) {
	t.Helper()
	length, seed = boundedChaos, rand.Uint64()
	var err error
	if s := os.Getenv("CHAOS_TIME"); s != "" {
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatalf("CHAOS_TIME: %v", err)
		}
	}
	if s := os.Getenv("CHAOS_SEED"); s != "" {
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("CHAOS_SEED: %v", err)
		}
	}
	return length, seed
}

// suffer has a fault happen, and returns the instance as it runs afterwards.
func suffer(t *testing.T, i *instance.Instance, proxy *chaos.Proxy, f chaos.Fault) *instance.Instance {
	t.Helper()
	switch f.Kind {
	case chaos.Pause:
		i.Pause()
		time.Sleep(f.Length)
		i.Resume()
		return i
	case chaos.Reset:
		proxy.ResetCasts(f.N)
		return i
	case chaos.Kill:
		i.Kill()
	default:
		i.Kill()
		i = i.RestartToDie([]string{fmt.Sprintf("CRASHPOINT_AT=%s:%d", f.Kind, f.N)}, everybodyAtOnce...)
		select {
		case <-i.Ended():
		case <-time.After(instance.Patience):
			t.Fatalf("it did not die at %s", f.Kind)
		}
	}
	return i.Restart(everybodyAtOnce...)
}

// sufferApart has a fault happen at a site.
func sufferApart(t *testing.T, s *apart.Site, on *wired, f chaos.Fault) {
	t.Helper()
	box, api, primary := s.Ballots[f.Which], s.APIs[f.Which], s.Database.Primary()
	switch f.Kind {
	case chaos.Kill:
		box.Kill()
		box.Restart()
	case chaos.KillAPI:
		api.Kill()
		api.Restart()
	case chaos.KillDatabase:
		killDatabase(t, primary)
	case chaos.Pause, chaos.PauseAPI:
		p := map[chaos.Kind]*apart.Program{chaos.Pause: box, chaos.PauseAPI: api}[f.Kind]
		p.Freeze()
		time.Sleep(f.Length)
		p.Thaw()
	case chaos.PauseDatabase:
		if err := primary.Pause(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(f.Length)
		if err := primary.Resume(); err != nil {
			t.Fatal(err)
		}
	case chaos.Reset:
		on.by[apart.ViaAPIs][f.Which].ResetCasts(f.N)
	case chaos.ResetBallots:
		on.by[apart.ViaBallots][f.Which].ResetCasts(f.N)
	case chaos.ResetDatabase:
		on.by[apart.ViaDatabase][0].ResetCasts(f.N)
	default:
		box.Kill()
		box.RestartToDie(fmt.Sprintf("%s:%d", f.Kind, f.N))
		box.Restart()
	}
}

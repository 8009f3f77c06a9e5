package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/e2e/chaos"
	"github.com/popvote/popvote/apps/e2e/instance"
)

// boundedChaos is how long it goes on where nobody asks for more (CHAOS_TIME).
const boundedChaos = 20 * time.Second

// Everything goes wrong, again and again, for as long as CHAOS_TIME says: the process is killed, dies at
// each point of a commit, stands still, and loses connections after COMMIT, while voters retry, and
// duplicates arrive late. CHAOS_SEED repeats a sequence of faults.
func TestChaos(t *testing.T) {
	t.Parallel()
	length, seed := chaosOrders(t)
	t.Logf("CHAOS_SEED=%d CHAOS_TIME=%s", seed, length)
	i := faultyDemo(t)
	proxy, err := chaos.Listen(strings.TrimPrefix(i.Voters, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	w := votersAt(t, i, proxy.Origin(), referendum)
	h := record(t)
	l := startLoad(t, w, h, 1500, 16)
	began, faults := time.Now(), 0
	for f := range chaos.Plan(seed) {
		// At least one of each.
		if time.Since(began) > length && faults >= len(chaos.Kinds) {
			break
		}
		time.Sleep(f.Wait)
		t.Logf("%8s fault %d: %s", time.Since(began).Truncate(time.Millisecond), faults, f)
		i = suffer(t, i, proxy, f)
		faults++
	}
	time.Sleep(500 * time.Millisecond)
	l.end()
	i.Do("close", referendum, "--yes")
	if err := h.Closed(); err != nil {
		t.Fatal(err)
	}
	report := h.finish(t, i, w)
	if report.Voters < 5*faults || report.Unknown == 0 {
		t.Errorf("%d faults, %d voters acknowledged, %d casts cut off: that proves little", faults, report.Voters, report.Unknown)
	}
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

package e2e_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/e2e/instance"
	"github.com/popvote/popvote/apps/e2e/votecheck"
	"github.com/popvote/popvote/apps/e2e/voter"
)

// kills makes fifty, with the twelve of TestCrashPoints.
const kills = 38

// load is voters who keep coming, and do not give up on a server that is away: they try another address.
type load struct {
	worlds []*voter.World
	h      *history
	run    int
	next   atomic.Int64
	voted  atomic.Int64 // acknowledged voters
	all    sync.WaitGroup
	stop   context.CancelFunc
}

// startLoad has clients voters at it at any moment.
func startLoad(t *testing.T, w *voter.World, h *history, run, clients int) *load {
	t.Helper()
	return startLoads(t, []*voter.World{w}, h, run, clients)
}

// startLoads is startLoad at several addresses.
func startLoads(t *testing.T, worlds []*voter.World, h *history, run, clients int) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{worlds: worlds, h: h, run: run, stop: stop}
	for range clients {
		l.all.Go(func() {
			for ctx.Err() == nil {
				l.vote(ctx, voter.NewPerson(l.run, int(l.next.Add(1))))
			}
		})
	}
	for n := range worlds {
		l.all.Go(func() { l.watchLog(ctx, n) })
	}
	t.Cleanup(l.end)
	return l
}

// anywhere is one of the addresses.
func (l *load) anywhere() *voter.World { return l.worlds[rand.IntN(len(l.worlds))] }

// until waits until so many more voters were acknowledged.
func (l *load) until(t *testing.T, more int) {
	t.Helper()
	want := l.voted.Load() + int64(more)
	for deadline := time.Now().Add(2 * time.Minute); l.voted.Load() < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("voting does not go on: %d more voters were acknowledged, of %d", l.voted.Load()+int64(more)-want, more)
		}
	}
}

// end lets nobody new in and waits for those who are at it. Their casts under way become unknown.
func (l *load) end() {
	l.stop()
	l.all.Wait()
}

// watchLog reads the checkpoint at the n-th address now and then, as a witness would.
func (l *load) watchLog(ctx context.Context, n int) {
	w := l.worlds[n]
	public := votecheck.Public{Client: w.HTTP, Origin: w.Origin, Poll: w.Manifest.ID}
	for ctx.Err() == nil {
		if checkpoint, err := public.Checkpoint(ctx); err == nil {
			_ = l.h.Snapshot(w.Origin, checkpoint) // one fewer
		}
		select {
		case <-ctx.Done():
		case <-time.After(300 * time.Millisecond):
		}
	}
}

func (l *load) vote(ctx context.Context, p voter.Person) {
	token, err := voter.Patiently(ctx, func() (string, error) { return verified(ctx, l.anywhere(), p) })
	if err != nil {
		return
	}
	e, err := l.anywhere().Seal()
	if err != nil {
		return
	}
	// A few give up after the first answer that is none: theirs may or may not be in the box.
	impatient := rand.IntN(8) == 0
	// One in twenty is sent a second time by something on the way, and arrives late.
	if rand.IntN(20) == 0 {
		late := e.Late()
		l.all.Go(func() {
			select {
			case <-ctx.Done():
			case <-time.After(rand.N(2 * time.Second)):
				_, _ = l.anywhere().Record(ctx, l.h.Recorder, p, token, late)
			}
		})
	}
	_, err = voter.Patiently(ctx, func() (struct{}, error) {
		_, err := l.anywhere().Record(ctx, l.h.Recorder, p, token, e)
		if err == nil {
			l.voted.Add(1)
		}
		if impatient {
			return struct{}{}, nil
		}
		return struct{}{}, err
	})
	// One in ten did not see the answer, and asks again.
	if err == nil && rand.IntN(10) == 0 {
		_, _ = l.anywhere().Record(ctx, l.h.Recorder, p, token, e)
	}
}

// The process is killed again and again while voters vote. Whatever was acknowledged is in the tally,
// once; whatever is in the tally was acknowledged or under way.
func TestKillNine(t *testing.T) {
	t.Parallel()
	i := demo(t)
	w := voters(t, i, referendum)
	h := record(t)
	l := startLoad(t, w, h, 300, 24)
	for range kills {
		time.Sleep(time.Duration(300+rand.IntN(500)) * time.Millisecond)
		i.Kill()
		i = i.Restart(everybodyAtOnce...)
	}
	time.Sleep(500 * time.Millisecond)
	l.end()
	i.Do("close", referendum, "--yes")
	if err := h.Closed(); err != nil {
		t.Fatal(err)
	}
	report := h.finish(t, i, w)
	if report.Voters < 20*kills {
		t.Errorf("only %d voters were acknowledged: that proves little", report.Voters)
	}
	if report.Unknown == 0 || report.Snapshots == 0 {
		t.Error("no cast was cut off, or nobody looked at the log: that proves little")
	}
}

// The negative control: a store that forgets what it acknowledged, as one without fsync does in a power
// cut, must make the checker fail. The data directory is put back to what it was a moment before.
func TestAForgetfulStoreIsCaught(t *testing.T) {
	t.Parallel()
	i := demo(t)
	w := voters(t, i, referendum)
	h := record(t)
	first := startLoad(t, w, h, 500, 8)
	time.Sleep(time.Second)
	first.end()
	i.Kill()
	remembered := i.Files()

	i = i.Restart(everybodyAtOnce...)
	second := startLoad(t, w, h, 600, 8)
	time.Sleep(time.Second)
	second.end()
	i.Kill()
	putBack(t, i, remembered)

	i = i.Restart(everybodyAtOnce...)
	report := votecheck.Check(h.events(t), final(t, i.Finish(referendum)))
	lost := 0
	for _, v := range report.Violations {
		if v.Rule == votecheck.Lost {
			lost++
		}
	}
	if lost == 0 {
		t.Fatalf("a store forgot a second's votes, and the checker saw nothing: %+v", report)
	}
	t.Logf("the checker found %d of the forgotten votes", lost)
}

// putBack makes the data directory what it was.
func putBack(t *testing.T, i *instance.Instance, files map[string][]byte) {
	t.Helper()
	for path := range i.Files() {
		if _, was := files[path]; !was {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	for path, content := range files {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

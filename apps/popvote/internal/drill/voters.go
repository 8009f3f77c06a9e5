//go:build unix

package drill

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/popvote/popvote/apps/e2e/votecheck"
	"github.com/popvote/popvote/apps/e2e/voter"
)

// Vote is a poll that voters vote in, and how they get there.
type Vote struct {
	// Edges are where voters come in: an origin in each cloud.
	Edges []string
	// CA is who signs the edges' certificates; nil: whom this machine trusts.
	CA *x509.CertPool
	// Phones finds the simulated phone networks, of which any one takes a text. It is asked again when one
	// doesn't.
	Phones func(ctx context.Context) ([]string, error)
	// Poll is open, and its voters text.
	Poll string
	// Finish closes the poll, counts and publishes it, and reads its end; what it fetches it leaves in dir.
	Finish func(ctx context.Context, dir string) (votecheck.Final, error)
}

// voters are a load of people who go all three steps. Those who are verified wait for their turn to cast,
// so that casts go on for a while where no SMS comes through any more, and so that tokens are of any age.
type voters struct {
	ledger
	vote   *Vote
	dir    string
	worlds []*voter.World
	people atomic.Int64

	history *votecheck.Recorder
	file    string
	waiting chan verified

	// Of these, too, the ledger's mu is the guard.
	phones  []string
	through []time.Duration // the first two steps: when
	refused map[string]int  // casts for good, by code
}

// verified is a voter who may cast.
type verified struct {
	voter.Person
	token string
}

// perVoter is how many verified voters wait for each that casts: a minute's.
const perVoter = 60

// newVoters connects to every edge. What is written down goes into a directory.
func newVoters(ctx context.Context, vote *Vote, dir string, at int) (*voters, error) {
	v := &voters{
		ledger: newLedger(), vote: vote, dir: dir, waiting: make(chan verified, perVoter*at),
		refused: map[string]int{}, file: filepath.Join(dir, vote.Poll+".jsonl"),
	}
	// The same people in every drill would be told to slow down.
	v.people.Store(rand.Int64N(2_000_000))
	for _, edge := range vote.Edges {
		w, err := connect(ctx, vote, edge)
		if err != nil {
			return nil, fmt.Errorf("couldn't begin to vote at %s: %w", edge, err)
		}
		v.worlds = append(v.worlds, w)
	}
	var err error
	if v.phones, err = vote.Phones(ctx); err != nil {
		return nil, err
	}
	v.history, err = votecheck.Create(v.file, time.Now)
	return v, err
}

// connect reads the poll's manifest at an edge, once it knows that the poll is open.
func connect(ctx context.Context, vote *Vote, edge string) (w *voter.World, err error) {
	client := &http.Client{Transport: &http.Transport{
		DialContext:     (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
		TLSClientConfig: &tls.Config{RootCAs: vote.CA, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 64,
	}}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		w, err = voter.NewWorld(ctx, edge, "", vote.Poll, client)
		if err == nil && w.Manifest.State == "open" {
			return w, nil
		}
		if wait(ctx, 200*time.Millisecond); ctx.Err() != nil {
			return nil, errors.Join(fmt.Errorf("it doesn't show the poll %s as open", vote.Poll), err)
		}
	}
}

// prepare has voters verified before anything is taken away.
func (v *voters) prepare(ctx context.Context, at, want int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	enough, done := context.WithCancel(ctx)
	var all sync.WaitGroup
	for range at {
		all.Go(func() {
			for enough.Err() == nil && len(v.waiting) < min(want, cap(v.waiting)-at) {
				v.walk(enough)
			}
		})
	}
	all.Wait()
	done()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("couldn't prepare %d voters: only %d were verified (%v): %w", want, len(v.waiting), v.errors, err)
	}
	v.began, v.through = time.Now(), nil
	return nil
}

// begun are voters of whom enough are verified.
func begun(ctx context.Context, vote *Vote, d Drill, at int, dir string) (*voters, error) {
	v, err := newVoters(ctx, vote, dir, at)
	if err != nil {
		return nil, err
	}
	want := 5 * at
	if d.Prepared {
		want = perVoter * at
	}
	return v, v.prepare(ctx, at, want)
}

// run has voters vote until ctx ends, some at once and each at most once a second, and then gives those
// that wait for an answer a little longer.
func (v *voters) run(ctx context.Context, at int) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		wait(longer, 15*time.Second)
		cancel()
	})
	defer stop()
	var all sync.WaitGroup
	for range at {
		all.Go(func() { // the first two steps
			for ctx.Err() == nil {
				begun := time.Now()
				v.walk(ctx)
				// A little faster than they are spent, so that their number grows again.
				wait(ctx, time.Until(begun.Add(800*time.Millisecond)))
			}
		})
		all.Go(func() { // the last
			for ctx.Err() == nil {
				begun := time.Now()
				select {
				case <-ctx.Done():
				case next := <-v.waiting:
					v.cast(longer, next)
				}
				wait(ctx, time.Until(begun.Add(time.Second)))
			}
		})
	}
	all.Go(func() { v.witness(ctx) })
	all.Wait()
}

// witness reads the log's checkpoint now and then. Behind one edge there are several servers, of which
// one may know less than another: what must hold is that each checkpoint begins the log of the end.
func (v *voters) witness(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		w := v.anywhere(nil)
		try, cancel := context.WithTimeout(ctx, patience)
		public := votecheck.Public{Client: w.HTTP, Origin: w.Origin, Poll: v.vote.Poll}
		if checkpoint, err := public.Checkpoint(try); err == nil {
			_ = v.history.Snapshot(w.Origin+"#"+strconv.Itoa(n), checkpoint) // one fewer
		}
		cancel()
		wait(ctx, time.Second)
	}
}

// anywhere is any edge, but not the one that failed, if there are others.
func (v *voters) anywhere(but *voter.World) *voter.World {
	n := rand.IntN(len(v.worlds))
	if v.worlds[n] == but {
		n = (n + 1 + rand.IntN(max(1, len(v.worlds)-1))) % len(v.worlds)
	}
	return v.worlds[n]
}

// persist does a step at one edge after the other until it is done, an answer is final or ctx ends.
func (v *voters) persist(ctx context.Context, what string, each time.Duration, do func(context.Context, *voter.World) error) error {
	var at *voter.World
	for {
		at = v.anywhere(at)
		try, cancel := context.WithTimeout(ctx, each)
		err := do(try, at)
		cancel()
		if err == nil {
			return nil
		}
		p, answered := errors.AsType[*voter.Problem](err)
		if answered && final(p) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		v.failed(what, err)
		pause := 100*time.Millisecond + rand.N(100*time.Millisecond)
		if answered {
			pause = max(pause, min(p.After, 5*time.Second))
		}
		if wait(ctx, pause); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// final is whether asking again would change nothing.
func final(p *voter.Problem) bool {
	return p.Status < 500 && p.Status != http.StatusTooManyRequests && p.Status != http.StatusRequestTimeout
}

// walk takes one more person through the first two steps. Who isn't through in half a minute gives up.
func (v *voters) walk(ctx context.Context) {
	next := verified{Person: voter.NewPerson(0, int(v.people.Add(1)))}
	own, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var number, text, session string
	err := v.persist(own, "identify", patience, func(ctx context.Context, w *voter.World) error {
		s, err := w.Identify(ctx, next.Person)
		if err != nil {
			return err
		}
		if s.Verification.Number == nil || s.Verification.Text == nil {
			return &voter.Problem{Status: http.StatusConflict, Code: "this poll's voters don't text"}
		}
		number, text, session = *s.Verification.Number, *s.Verification.Text, s.AccessToken
		return nil
	})
	if err == nil {
		err = v.persist(own, "text", patience, func(ctx context.Context, w *voter.World) error {
			return v.text(ctx, w, next.Person, number, text)
		})
	}
	if err == nil {
		// Wherever the text came in, every edge hears of it; one that is gone is not waited for.
		err = v.persist(own, "wait for the text", 10*time.Second, func(ctx context.Context, w *voter.World) (err error) {
			next.token, err = w.Await(ctx, session)
			return err
		})
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		v.failed("not verified", err)
	default:
		select {
		case <-ctx.Done():
		case v.waiting <- next:
			v.mu.Lock()
			v.through = append(v.through, time.Since(v.began))
			v.mu.Unlock()
		}
	}
}

// text sends a text by any phone network that takes it.
func (v *voters) text(ctx context.Context, w *voter.World, p voter.Person, number, text string) error {
	v.mu.Lock()
	phones := v.phones
	v.mu.Unlock()
	if len(phones) == 0 {
		return errors.New("there is no phone network")
	}
	at := *w
	at.Phone = phones[rand.IntN(len(phones))]
	err := at.Text(ctx, p, number, text)
	if err != nil {
		asking, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if found, lost := v.vote.Phones(asking); lost == nil {
			v.mu.Lock()
			v.phones = found
			v.mu.Unlock()
		}
	}
	return err
}

// cast casts one ballot until it is known what became of it: with the same key, at another edge each time.
func (v *voters) cast(ctx context.Context, who verified) {
	began := time.Now()
	envelope, err := v.worlds[0].Seal()
	if err != nil {
		v.failed("seal", err)
		return
	}
	v.ask(who.N)
	record := func(ctx context.Context, w *voter.World) error {
		_, err := w.Record(ctx, v.history, who.Person, who.token, envelope)
		return err
	}
	err = v.persist(ctx, "cast", patience, record)
	if p, answered := errors.AsType[*voter.Problem](err); answered {
		v.mu.Lock()
		delete(v.open, who.N)
		v.refused[p.Code]++
		v.mu.Unlock()
	}
	if err != nil {
		return
	}
	v.acked(who.N, began)
	// One in ten didn't see the answer, and asks again.
	if rand.IntN(10) == 0 {
		again, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		_ = record(again, v.anywhere(nil)) // the history has what it says
	}
}

func (v *voters) failed(what string, err error) {
	text := what + ": no answer"
	var p *voter.Problem
	var network net.Error
	switch {
	case errors.As(err, &p):
		text = fmt.Sprintf("%s: %s", what, p.Code)
	case errors.As(err, &network) && network.Timeout(), errors.Is(err, context.DeadlineExceeded):
		text = what + ": no answer in time"
	}
	v.tried(text)
}

// check closes the poll and holds all that voters were told against what everybody can read of its end.
func (v *voters) check(ctx context.Context) (c count, err error) {
	if err := v.history.Close(); err != nil {
		return c, err
	}
	f, err := v.vote.Finish(ctx, v.dir)
	if err != nil {
		return c, err
	}
	for _, w := range v.worlds {
		read, err := public(ctx, w, int64(len(f.Sealed)))
		if err != nil {
			return c, fmt.Errorf("couldn't read the end of the poll at %s: %w", w.Origin, err)
		}
		f.Readings = append(f.Readings, read...)
	}
	file, err := os.Open(v.file)
	if err != nil {
		return c, fmt.Errorf("couldn't read the history: %w", err)
	}
	defer func() { _ = file.Close() }() // only read
	events, err := votecheck.Read(file)
	if err != nil {
		return c, err
	}
	return v.judge(votecheck.Check(events, f)), nil
}

// public is what an edge tells of the end of the poll. Pages may be some seconds old: what is behind is
// read again.
func public(ctx context.Context, w *voter.World, want int64) (all []votecheck.Reading, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	pages := votecheck.Public{Client: w.HTTP, Origin: w.Origin, Poll: w.Manifest.ID}
	for {
		got, failed := pages.Readings(ctx)
		if failed == nil {
			all = got
		}
		if failed == nil && !slices.ContainsFunc(all, func(r votecheck.Reading) bool { return r.Ballots != want }) {
			break
		}
		if wait(ctx, 500*time.Millisecond); ctx.Err() != nil {
			if all == nil {
				return nil, failed
			}
			break // what differs is for the checker to say
		}
	}
	for i := range all {
		all[i].Source += " at " + w.Origin
	}
	return all, nil
}

// judge is the checker's report in this package's words.
func (v *voters) judge(r *votecheck.Report) count {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := count{
		Acknowledged: r.Voters, Stored: r.Box, Unknown: len(v.open), Recovered: r.Recovered,
		Failed: v.tries, Reasons: v.errors, Refused: v.refused, Verified: len(v.through),
	}
	for _, violation := range r.Violations {
		switch violation.Rule {
		case votecheck.Lost:
			c.Lost++
		case votecheck.Double:
			c.Doubled++
		case votecheck.Phantom, votecheck.Undead:
			c.Strange++
		default:
			c.Broken = append(c.Broken, violation.String())
		}
	}
	return c
}

package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/ballotapi/overhttp"
	"github.com/popvote/popvote/libs/discovery"
	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/mtls/devca"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/receipt"
)

// remote serves a box over the network and returns a client of it: one that casts as api-server does,
// and administers as control-panel does.
func (b *box) remote(cfg overhttp.ClientConfig) overhttp.Box {
	b.t.Helper()
	dir := b.t.TempDir()
	_, err := devca.Make(devca.Config{Dir: dir, Services: []string{"ballot-server", "api-server", "control-panel"}, Clock: time.Now})
	b.ok(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	b.ok(err)
	files := func(service string) *mtls.Files {
		f, err := mtls.Load(filepath.Join(dir, service), time.Now)
		b.ok(err)
		return f
	}
	s := &http.Server{Handler: overhttp.NewHandler(b.Server, overhttp.Production()), ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	go s.Serve(tls.NewListener(l, files("ballot-server").Server()))
	b.t.Cleanup(func() { s.Close() })
	cfg.Finder, err = discovery.NewStatic(map[string][]discovery.Instance{"ballot-server": {{Address: l.Addr().String()}}})
	b.ok(err)
	client := func(as string) *overhttp.Client {
		cfg.TLS = files(as).Client("ballot-server")
		c, err := overhttp.NewClient(cfg)
		b.ok(err)
		b.t.Cleanup(func() { c.Close() })
		return c
	}
	return struct {
		ballotapi.Caster
		ballotapi.Admin
	}{client("api-server"), client("control-panel")}
}

// TestContract takes a poll through its whole life, in the process and over the network: whoever holds
// the interfaces cannot tell which it is.
func TestContract(t *testing.T) {
	for name, reach := range map[string]func(*box) overhttp.Box{
		"in the process":   func(b *box) overhttp.Box { return b.Server },
		"over the network": func(b *box) overhttp.Box { return b.remote(overhttp.ClientConfig{}) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			contract(t, b, reach(b))
		})
	}
}

func contract(t *testing.T, b *box, api overhttp.Box) {
	ctx := t.Context()
	cast := func(ballots ...ballotapi.Ballot) []ballotapi.Outcome {
		t.Helper()
		outcomes, err := api.Cast(ctx, ballots)
		b.ok(err)
		return outcomes
	}
	b.expect(cast(cast1(1, b.junk()))[0], problem.PollNotOpen)
	refused, isRefused := errors.AsType[*ballotapi.Refused](api.Move(ctx, "lunch", poll.Published, me))
	if !isRefused || refused.State != poll.Draft {
		t.Errorf("a move too far: %v", refused)
	}
	if faults, ok := errors.AsType[poll.Faults](api.Apply(ctx, poll.Definition{ID: "empty"}, me)); !ok || len(faults) < 2 {
		t.Errorf("an empty definition: %v", faults)
	}
	if _, err := api.Turnout(ctx, "dinner"); problem.From(err).Code != problem.PollNotFound {
		t.Error(err)
	}
	b.ok(api.Move(ctx, "lunch", poll.Open, me))

	first, second := cast1(1, b.seal("rice")), cast1(2, b.seal("noodles"))
	outcomes := cast(first, second)
	b.expectAll(outcomes, "")
	for i, sealed := range [][]byte{first.Sealed, second.Sealed} {
		b.ok(receipt.VerifyBallot(*outcomes[i].Receipt, sealed, b.manifest().SigningKey))
	}
	if again := cast(first)[0]; !reflect.DeepEqual(again, outcomes[0]) {
		t.Errorf("the retry got %+v, want %+v", again.Receipt, outcomes[0].Receipt)
	}
	reused, copied := cast1(1, b.junk()), cast1(3, first.Sealed)
	twice, small := reused, cast1(4, []byte("small"))
	twice.Key = "another-key-of-the-same"
	keyless, elsewhere := cast1(5, b.junk()), cast1(6, b.junk())
	keyless.Key, elsewhere.Poll = "short", "dinner"
	for i, o := range cast(reused, twice, copied, small, keyless, elsewhere) {
		b.expect(o, []problem.Code{problem.IdempotencyKeyReused, problem.AlreadyVoted, problem.BallotCopied, problem.BallotWrongSize, problem.IdempotencyKeyInvalid, problem.PollNotFound}[i])
	}
	var voters sync.WaitGroup
	var recorded atomic.Int64
	for who := range 300 {
		voters.Go(func() {
			outcomes, err := api.Cast(ctx, []ballotapi.Ballot{cast1(100+who/2, b.seal("rice"))})
			if err == nil && outcomes[0].Receipt != nil {
				recorded.Add(1)
			}
		})
	}
	voters.Wait()
	if recorded.Load() != 150 {
		t.Errorf("150 voters cast twice each, and %d were recorded", recorded.Load())
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := api.Cast(cancelled, []ballotapi.Ballot{cast1(7, b.junk())}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}

	if err := api.Extend(ctx, "lunch", noon.Add(2*time.Hour), ballotapi.Change{Actor: "me"}); problem.From(err).Field != "/reason" {
		t.Error(err)
	}
	b.ok(api.Extend(ctx, "lunch", noon.Add(2*time.Hour), me))
	b.ok(api.Move(ctx, "lunch", poll.Closed, me))
	b.expect(cast(cast1(8, b.junk()))[0], problem.PollClosed)
	if again := cast(first)[0]; !reflect.DeepEqual(again, outcomes[0]) {
		t.Error("after the close the retry got another receipt")
	}
	checkpoint, err := api.Checkpoint(ctx, "lunch")
	b.ok(err)
	tile, err := api.Tile(ctx, "lunch", "0/000.p/152")
	b.ok(err)
	if !bytes.Contains(checkpoint, []byte("\n152\n")) || len(tile) != 152*32 {
		t.Errorf("%d bytes of tiles under %s", len(tile), checkpoint)
	}
	if _, err := api.Result(ctx, "lunch"); problem.From(err).Code != problem.ResultsNotPublished {
		t.Error(err)
	}
	var bundle bytes.Buffer
	if err := api.Bundle(ctx, "lunch", &bundle); problem.From(err).Code != problem.ResultsNotPublished || bundle.Len() > 0 {
		t.Error(err)
	}
	if _, ok := errors.AsType[*ballotapi.Refused](api.Count(ctx, "lunch", bytes.Repeat([]byte{1}, 32), me)); !ok {
		t.Error("a wrong key counted")
	}
	b.ok(api.Count(ctx, "lunch", b.scalar, me))
	counted, err := api.CountedResult(ctx, "lunch")
	b.ok(err)
	b.ok(api.Move(ctx, "lunch", poll.Published, me))
	result, err := api.Result(ctx, "lunch")
	b.ok(err)
	if result.JWS == "" || counted.JWS == "" || len(result.Plain) == 0 {
		t.Error("the result is empty")
	}
	b.ok(api.Bundle(ctx, "lunch", &bundle))
	if !bytes.HasPrefix(bundle.Bytes(), []byte("PK")) {
		t.Error("the bundle is no archive")
	}
	stats, err := api.Stats(ctx, "lunch")
	b.ok(err)
	if stats.Total != 152 || stats.State != poll.Published || stats.Count == nil || stats.Count.Done != 152 {
		t.Errorf("%+v", stats)
	}
	chain, err := api.Audit(ctx, "lunch")
	b.ok(err)
	b.ok(ballotapi.VerifyAudit("lunch", chain))
	all, err := api.AllPolls(ctx)
	b.ok(err)
	health, err := api.Health(ctx)
	b.ok(err)
	if len(all) != 1 || health.QueueMax != 8192 {
		t.Errorf("%v %+v", all, health)
	}
}

func cast1(who int, sealed []byte) ballotapi.Ballot { return cast(who, fmt.Sprint(who), sealed) }

// TestFullQueueAcrossTheNetwork: with the committer held up, whoever finds the ballot server's queue full
// is told so while it is still held up, also in the middle of a batch of which others wait. If the answer
// waited for the commit, this would never end.
func TestFullQueueAcrossTheNetwork(t *testing.T) {
	b := newBox(t)
	b.move(poll.Open)
	b.close()
	b.cfg.Queue = 4
	hold, held := make(chan struct{}), make(chan struct{}, 1)
	var armed atomic.Bool
	b.deps.commit = func(commit func() error) error {
		if armed.Swap(false) {
			held <- struct{}{}
			<-hold
		}
		return commit()
	}
	b.open()
	// As many batches at a time as there are voters: the client's own queue is never in the way.
	api := b.remote(overhttp.ClientConfig{InFlight: 32})
	armed.Store(true)
	var voters sync.WaitGroup
	voters.Go(func() {
		if outcomes, err := api.Cast(context.Background(), []ballotapi.Ballot{cast1(0, b.junk())}); err != nil || code(outcomes[0]) != "" {
			t.Error(outcomes, err)
		}
	})
	<-held
	answered := make(chan ballotapi.Outcome, 20)
	for who := range cap(answered) {
		voters.Go(func() {
			outcomes, err := api.Cast(context.Background(), []ballotapi.Ballot{cast1(who+1, b.junk())})
			if err != nil {
				outcomes = []ballotapi.Outcome{{Err: err}}
			}
			answered <- outcomes[0]
		})
	}
	for range cap(answered) - b.cfg.Queue {
		o := <-answered
		b.expect(o, problem.Overloaded)
		if after := problem.From(o.Err).RetryAfter; after < time.Second {
			t.Errorf("come back after %s", after)
		}
	}
	close(hold)
	for range b.cfg.Queue {
		b.expect(<-answered, "")
	}
	voters.Wait()
}

package server

import (
	"encoding/base64"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ballotlog"
	"github.com/popvote/popvote/libs/ballotlog/logtest"
	"github.com/popvote/popvote/libs/channelsapi"
	"github.com/popvote/popvote/libs/problem"
)

// prove asks for the proof of the n-th leaf of a history of the log of "sends".
func (w *world) prove(history string, n int64) reply {
	w.t.Helper()
	leaf := logtest.Leaf(history, n)
	return w.call("POST", proofPath, object{"leaf": base64.StdEncoding.EncodeToString(leaf[:])})
}

const proofPath = "/v1/polls/sends/log/proof"

// notLogged wants no proof of a leaf.
func (w *world) notLogged(history string, n int64) {
	w.t.Helper()
	got := read[channelsapi.LeafProof](w.t, w.prove(history, n), http.StatusOK)
	if got.Index != nil || got.Path != nil || got.Checkpoint == "" {
		w.t.Fatalf("leaf %d of %s, which is not in the log: %v", n, history, got)
	}
}

// proved checks the proof of a leaf as a stranger does.
func (w *world) proved(n int64) {
	w.t.Helper()
	got := read[channelsapi.LeafProof](w.t, w.prove("true", n), http.StatusOK)
	trust := ballotlog.Trust{Poll: sends, LogKey: w.box.logs[sends].Key}
	key, err := trust.Verifier()
	if err != nil {
		w.t.Fatal(err)
	}
	checkpoint, err := ballotlog.Open([]byte(got.Checkpoint), key)
	if err != nil {
		w.t.Fatal(err)
	}
	if got.Index == nil || got.Path == nil {
		w.t.Fatalf("leaf %d is not in a log of %d", n, checkpoint.Tree.N)
	}
	path := make([][]byte, len(*got.Path))
	for i, one := range *got.Path {
		if path[i], err = base64.StdEncoding.DecodeString(one); err != nil {
			w.t.Fatal(err)
		}
	}
	leaf := logtest.Leaf("true", n)
	if err := ballotlog.Included(path, checkpoint.Tree, *got.Index, leaf[:]); err != nil {
		w.t.Errorf("leaf %d: %v", n, err)
	}
}

func TestEveryLeafIsProved(t *testing.T) {
	w := newWorld(t)
	log := w.box.logs[sends]
	for _, size := range []int64{300, 301, 512, 66_000} {
		w.notLogged("true", size)
		log.Grow("true", size)
		w.clock.advance(2 * time.Second)
		for _, n := range []int64{0, 1, 255, 256, size / 2, size - 1} {
			w.proved(n)
		}
	}
	for _, leaf := range []string{"AAAA", "", "x/y", "!"} {
		if got := w.call("POST", proofPath, object{"leaf": leaf}).problem(t); string(got.Code) != string(problem.InvalidField) {
			t.Errorf("the leaf %q: %s", leaf, got.Code)
		}
	}
}

// TestMadeUpLeavesCostTheBallotServerNothing: once the log has been read, a leaf is looked up in memory.
func TestMadeUpLeavesCostTheBallotServerNothing(t *testing.T) {
	w := newWorld(t)
	w.proved(5)
	before := w.box.total()
	for n := range int64(1000) {
		w.notLogged("false", n)
	}
	if cost := w.box.total() - before; cost > 10 {
		t.Errorf("1,000 made-up leaves cost %d calls", cost)
	}
}

// TestManyAskAtOnce while the log is read for the first time: they are answered, or told to come back.
func TestManyAskAtOnce(t *testing.T) {
	w := newWorld(t)
	w.box.logs[sends].Grow("true", 20_000)
	w.clock.advance(2 * time.Second)
	var all sync.WaitGroup
	for n := range int64(20) {
		all.Go(func() {
			for range 1000 {
				got := w.prove("true", 1000*n)
				if got.status == http.StatusOK {
					return
				}
				if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
					t.Errorf("leaf %d: %d %s", 1000*n, got.status, got.body)
					return
				}
				time.Sleep(10 * time.Millisecond)
				w.clock.advance(time.Second)
			}
			t.Errorf("leaf %d was never proved", 1000*n)
		})
	}
	all.Wait()
}

// TestALogThatLiesIsNotBelieved, whoever between the ballot server and here has changed it.
func TestALogThatLiesIsNotBelieved(t *testing.T) {
	w := newWorld(t)
	w.proved(5)
	w.box.logs[sends].Rewrite("false", 100, 400)
	w.clock.advance(2 * time.Second)
	if got := w.prove("false", 399).problem(t); string(got.Code) != string(problem.Unavailable) {
		t.Errorf("a rewritten log: %s", got.Code)
	}
	fresh := newWorld(t)
	fresh.box.breakReads(errors.New("no route to host"))
	if got := fresh.prove("true", 5).problem(t); string(got.Code) != string(problem.Unavailable) {
		t.Errorf("without the ballot server: %s", got.Code)
	}
}

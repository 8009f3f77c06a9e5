package server

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/ballot"
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

// proveCode asks for the proof of the leaf that a code is of.
func (w *world) proveCode(code string) reply {
	w.t.Helper()
	return w.call("POST", proofPath, object{"code": code})
}

// notLogged wants no proof of a leaf, nor of its code.
func (w *world) notLogged(history string, n int64) {
	w.t.Helper()
	for _, reply := range []reply{w.prove(history, n), w.proveCode(ballot.Code(logtest.Leaf(history, n)))} {
		got := read[channelsapi.LeafProof](w.t, reply, http.StatusOK)
		if got.Index != nil || got.Path != nil || got.Leaf != nil || got.Checkpoint == "" {
			w.t.Fatalf("leaf %d of %s, which is not in the log: %v", n, history, got)
		}
	}
}

// proved checks the proof of a leaf as a stranger does, by the leaf and by its code.
func (w *world) proved(n int64) {
	w.t.Helper()
	leaf := logtest.Leaf("true", n)
	w.holds(w.prove("true", n), n, leaf)
	w.holds(w.proveCode(ballot.Code(leaf)), n, leaf)
}

func (w *world) holds(answer reply, n int64, leaf [leafSize]byte) {
	w.t.Helper()
	got := read[channelsapi.LeafProof](w.t, answer, http.StatusOK)
	trust := ballotlog.Trust{Poll: sends, LogKey: w.box.logs[sends].Key}
	key, err := trust.Verifier()
	if err != nil {
		w.t.Fatal(err)
	}
	checkpoint, err := ballotlog.Open([]byte(got.Checkpoint), key)
	if err != nil {
		w.t.Fatal(err)
	}
	if got.Index == nil || got.Path == nil || got.Leaf == nil {
		w.t.Fatalf("leaf %d is not in a log of %d", n, checkpoint.Tree.N)
	}
	if *got.Index != n || *got.Leaf != base64.StdEncoding.EncodeToString(leaf[:]) {
		w.t.Errorf("leaf %d is said to be number %d, %s", n, *got.Index, *got.Leaf)
	}
	path := make([][]byte, len(*got.Path))
	for i, one := range *got.Path {
		if path[i], err = base64.StdEncoding.DecodeString(one); err != nil {
			w.t.Fatal(err)
		}
	}
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
	code := ballot.Code(logtest.Leaf("true", 5))
	for _, typed := range []string{strings.ToLower(code), strings.ReplaceAll(code, " ", "-"), strings.ReplaceAll(code, " ", "")} {
		w.holds(w.proveCode(typed), 5, logtest.Leaf("true", 5))
	}
	for _, typed := range []string{"", "x", code[1:], code + "0", code[:18] + "U"} {
		if got := w.proveCode(typed).problem(t); string(got.Code) != string(problem.InvalidField) || got.Field == nil || *got.Field != "/code" {
			t.Errorf("the code %q: %s", typed, got.Code)
		}
	}
}

// TestTwoBallotsOfOneCode: whoever has the leaf gets its proof; whoever has the code alone is told.
func TestTwoBallotsOfOneCode(t *testing.T) {
	w := newWorld(t)
	log := w.box.logs[sends]
	first := logtest.Leaf("true", 5)
	second := first
	second[31] ^= 1
	code := ballot.Code(first)
	prove := func(leaf [leafSize]byte) reply {
		return w.call("POST", proofPath, object{"leaf": base64.StdEncoding.EncodeToString(leaf[:])})
	}
	w.holds(w.proveCode(code), 5, first)
	log.Append(second)
	w.clock.advance(2 * time.Second)
	w.notLogged("false", 0) // has the rest of the log read
	if got := w.proveCode(code).problem(t); string(got.Code) != string(problem.ReceiptAmbiguous) {
		t.Errorf("a code of two ballots: %s", got.Code)
	}
	w.holds(prove(first), 5, first)
	w.holds(prove(second), 300, second)
	third := first
	third[31] ^= 2
	if got := read[channelsapi.LeafProof](t, prove(third), http.StatusOK); got.Index != nil {
		t.Errorf("a made-up leaf with their code: %v", got)
	}
	// Tiles that are read again as they fill up make no second ballot of the first.
	log.Grow("true", 700)
	w.clock.advance(2 * time.Second)
	for _, n := range []int64{0, 255, 256, 299, 301, 511, 512, 699} {
		w.proved(n)
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
	// Polls are read again meanwhile, once a second.
	if cost := w.box.total() - before; cost > 500 {
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

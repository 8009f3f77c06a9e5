package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/e2e/apart"
	"github.com/popvote/popvote/apps/e2e/instance"
	"github.com/popvote/popvote/apps/e2e/votecheck"
	"github.com/popvote/popvote/apps/e2e/voter"
)

// popvote is the binary under test, built once. faulty is the same with crash points and a clock that
// can be stepped, and programs and faultyPrograms are the directories of the others: built when a test
// first asks for them.
var (
	popvote                          string
	faulty, programs, faultyPrograms func() (string, error)
)

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "popvote-e2e-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	faulty = sync.OnceValues(func() (string, error) { return instance.Build(context.Background(), dir, "crashpoints") })
	programs = sync.OnceValues(func() (string, error) { return dir, apart.Build(context.Background(), dir) })
	faultyPrograms = sync.OnceValues(func() (string, error) {
		faulty := filepath.Join(dir, "faulty")
		return faulty, apart.Build(context.Background(), faulty, "crashpoints")
	})
	if popvote, err = instance.Build(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// referendum is the sample poll in which voters text; lunch the one in which they receive a code.
const referendum, lunch = "hk-2014-06", "lunch"

// everybodyAtOnce lifts the limits: all these voters share one address.
var everybodyAtOnce = []string{"--seed-demo", "--limits-scale", "10000", "--log-level", "debug"}

// demo starts an instance with the sample polls open.
func demo(t *testing.T) *instance.Instance {
	t.Helper()
	return instance.Start(t, popvote, instance.Options{Args: everybodyAtOnce})
}

// faultyDemo is demo with the binary that can be made to fail.
func faultyDemo(t *testing.T, env ...string) *instance.Instance {
	t.Helper()
	binary, err := faulty()
	if err != nil {
		t.Fatal(err)
	}
	return instance.Start(t, binary, instance.Options{Args: everybodyAtOnce, Env: env})
}

// voters connects to an instance's poll with many connections.
func voters(t *testing.T, i *instance.Instance, poll string) *voter.World {
	t.Helper()
	return votersAt(t, i, i.Voters, poll)
}

// votersAt is voters by way of another origin.
func votersAt(t *testing.T, i *instance.Instance, origin, poll string) *voter.World {
	t.Helper()
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	t.Cleanup(client.CloseIdleConnections)
	// A poll that was opened a moment ago is known within a second.
	var w *voter.World
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if w, err = voter.NewWorld(t.Context(), origin, i.Phone, poll, client); problemCode(err) != "poll-not-found" {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// record starts a history.
func record(t *testing.T) *history {
	t.Helper()
	path := filepath.Join(t.TempDir(), "history.jsonl")
	rec, err := votecheck.Create(path, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return &history{Recorder: rec, path: path}
}

type history struct {
	*votecheck.Recorder
	path string
}

// check compares the history with the bundle.
func (h *history) check(t *testing.T, bundle string) *votecheck.Report {
	t.Helper()
	return h.judge(t, final(t, bundle))
}

// finish publishes a closed poll and compares the history with its bundle, and the bundle with what the
// API and the operator's figures say.
func (h *history) finish(t *testing.T, i *instance.Instance, w *voter.World) *votecheck.Report {
	t.Helper()
	f := final(t, i.Publish(w.Manifest.ID))
	f.Readings = readings(t, i, w, int64(len(f.Sealed)))
	return h.judge(t, f)
}

// closeApart closes a site's poll, whose voters have gone, and is finishApart.
func (h *history) closeApart(t *testing.T, s *apart.Site, worlds []*voter.World) *votecheck.Report {
	t.Helper()
	s.Operator.Move(worlds[0].Manifest.ID, "close")
	if err := h.Closed(); err != nil {
		t.Fatal(err)
	}
	return h.finishApart(t, s, worlds)
}

// finishApart is finish for a poll of a site, whose end every API server tells.
func (h *history) finishApart(t *testing.T, s *apart.Site, worlds []*voter.World) *votecheck.Report {
	t.Helper()
	id := worlds[0].Manifest.ID
	f := final(t, s.Publish(id))
	for _, w := range worlds {
		f.Readings = append(f.Readings, public(t, w, int64(len(f.Sealed)))...)
	}
	f.Readings = append(f.Readings,
		votecheck.Reading{Source: "the operator's figures", Ballots: s.Operator.Total(id)},
		votecheck.Reading{Source: "the participation table", Ballots: s.Participants(id)})
	return h.judge(t, f)
}

// readings are the end of the poll as everybody else sees it.
func readings(t *testing.T, i *instance.Instance, w *voter.World, want int64) []votecheck.Reading {
	t.Helper()
	all := public(t, w, want)
	var shown struct {
		Stats struct {
			Total int64 `json:"total"`
		} `json:"stats"`
	}
	if err := json.Unmarshal([]byte(i.Do("show", w.Manifest.ID, "-o", "json")), &shown); err != nil {
		t.Fatal(err)
	}
	return append(all, votecheck.Reading{Source: "the operator's figures", Ballots: shown.Stats.Total})
}

// public is what the API tells of the end of the poll. Pages may be a few seconds old: what is behind is
// read again.
func public(t *testing.T, w *voter.World, want int64) (all []votecheck.Reading) {
	t.Helper()
	pages := votecheck.Public{Client: w.HTTP, Origin: w.Origin, Poll: w.Manifest.ID}
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(250 * time.Millisecond) {
		all, err = pages.Readings(t.Context())
		if err == nil && !slices.ContainsFunc(all, func(r votecheck.Reading) bool { return r.Ballots != want }) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (h *history) judge(t *testing.T, f votecheck.Final) *votecheck.Report {
	t.Helper()
	report := votecheck.Check(h.events(t), f)
	for n, v := range report.Violations {
		if n == 20 {
			t.Errorf("… and %d more", len(report.Violations)-n)
			break
		}
		t.Error(v)
	}
	t.Logf("%d casts: %d acknowledged, %d refused, %d unknown; %d voters acknowledged, %d more recorded, %d ballots in the box; %d checkpoints read on the way",
		report.Casts, report.Acknowledged, report.Refused, report.Unknown, report.Voters, report.Recovered, report.Box, report.Snapshots)
	return report
}

func (h *history) events(t *testing.T) []votecheck.Event {
	t.Helper()
	file, err := os.Open(h.path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	events, err := votecheck.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func final(t *testing.T, bundle string) votecheck.Final {
	t.Helper()
	f, err := votecheck.ReadBundle(bundle)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

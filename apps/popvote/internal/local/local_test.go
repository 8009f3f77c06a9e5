package local_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/popvote/internal/local"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
)

// admin is a ballot server that remembers what it was asked.
type admin struct {
	ballotapi.Admin
	definition poll.Definition
	change     ballotapi.Change
	key        []byte
	fails      error
}

func (a *admin) AllPolls(context.Context) ([]poll.Summary, error) {
	return []poll.Summary{{ID: "lunch", State: poll.Open}}, a.fails
}

func (a *admin) Apply(_ context.Context, d poll.Definition, c ballotapi.Change) error {
	a.definition, a.change = d, c
	return a.fails
}

func (a *admin) Count(_ context.Context, _ string, key []byte, _ ballotapi.Change) error {
	a.key = bytes.Clone(key)
	return a.fails
}

func (a *admin) Bundle(_ context.Context, _ string, w io.Writer) error {
	if a.fails != nil {
		return a.fails
	}
	_, err := w.Write([]byte("PK bundle"))
	return err
}

func serve(t *testing.T, a *admin) *local.Client {
	t.Helper()
	dir := t.TempDir()
	l, err := local.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: local.Handler(a), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	info, err := os.Stat(filepath.Join(dir, local.Name))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the socket: %v %v", info, err)
	}
	c, err := local.Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestWhatIsAskedArrives(t *testing.T) {
	a := &admin{}
	c := serve(t, a)
	polls, err := c.AllPolls(t.Context())
	if err != nil || len(polls) != 1 || polls[0].State != poll.Open {
		t.Error(polls, err)
	}
	want, err := poll.Sample("lunch")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(t.Context(), *want, ballotapi.Change{Actor: "me", Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	if a.definition.ID != want.ID || len(a.definition.Questions) != len(want.Questions) || a.change.Actor != "me" {
		t.Errorf("%+v by %+v", a.definition, a.change)
	}
	if err := c.Count(t.Context(), "lunch", []byte{1, 2, 3}, ballotapi.Change{}); err != nil || !bytes.Equal(a.key, []byte{1, 2, 3}) {
		t.Error(a.key, err)
	}
	var bundle bytes.Buffer
	if err := c.Bundle(t.Context(), "lunch", &bundle); err != nil || bundle.String() != "PK bundle" {
		t.Error(bundle.String(), err)
	}
}

// Exit codes hang on the errors' types, so these cross the socket.
func TestErrorsKeepTheirTypes(t *testing.T) {
	a := &admin{}
	c := serve(t, a)
	refused := ballotapi.Refused{Poll: "lunch", State: poll.Closed, Reason: "it is over"}
	a.fails = &refused
	err := c.Apply(t.Context(), poll.Definition{}, ballotapi.Change{})
	if r, ok := errors.AsType[*ballotapi.Refused](err); !ok || *r != refused {
		t.Errorf("%#v", err)
	}
	a.fails = problem.New(problem.PollNotFound).Because("for a reason").After(time.Second)
	err = c.Bundle(t.Context(), "lunch", io.Discard)
	if p, ok := errors.AsType[*problem.Error](err); !ok || p.Code != problem.PollNotFound || p.Detail != "for a reason" || p.RetryAfter != time.Second {
		t.Errorf("%#v", err)
	}
	a.fails = errors.New("something else")
	if _, err := c.AllPolls(t.Context()); err == nil || err.Error() != "something else" {
		t.Error(err)
	}
}

func TestNobodyThere(t *testing.T) {
	dir := t.TempDir()
	if _, err := local.Dial(t.Context(), dir); !errors.Is(err, local.ErrNotRunning) {
		t.Error(err)
	}
	// A process that was killed leaves its socket behind.
	l, err := local.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, local.Name)
	left := filepath.Join(dir, "left")
	if err := errors.Join(os.Rename(path, left), l.Close(), os.Rename(left, path)); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Dial(t.Context(), dir); !errors.Is(err, local.ErrNotRunning) {
		t.Error(err)
	}
	again, err := local.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
}

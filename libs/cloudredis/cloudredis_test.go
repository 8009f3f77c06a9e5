package cloudredis

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/discovery"
	"github.com/popvote/popvote/libs/redistest"
)

// catalogue is what is found; a test changes it.
type catalogue struct {
	mu    sync.Mutex
	found []discovery.Instance // guarded by mu
}

func (c *catalogue) Find(service string) []discovery.Instance {
	c.mu.Lock()
	defer c.mu.Unlock()
	if service != Service {
		return nil
	}
	return slices.Clone(c.found)
}

func (c *catalogue) become(found ...discovery.Instance) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.found = found
}

// TestALinkLeadsToItsCloudsRedis wherever that goes, to no other cloud's, and stays while none is found.
func TestALinkLeadsToItsCloudsRedis(t *testing.T) {
	var all [3]*redistest.Server
	var in [3]discovery.Instance
	for i := range all {
		all[i] = redistest.Start(t)
		in[i] = discovery.Instance{Address: all[i].Addr(), Cloud: "here"}
	}
	slices.SortFunc(in[:], func(a, b discovery.Instance) int { return cmp.Compare(b.Address, a.Address) })
	elsewhere := discovery.Instance{Address: "127.0.0.1:1", Cloud: "elsewhere"}
	found := &catalogue{}
	l := NewLink(Config{Finder: found, Cloud: "here"})
	t.Cleanup(func() { l.Close() })
	leads := func(to string, nowhere error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		client := l.Client()
		if err := client.Ping(ctx).Err(); !errors.Is(err, nowhere) || client.Options().Addr != to {
			t.Errorf("it leads to %q, want %q: %v", client.Options().Addr, to, err)
		}
	}
	leads("nowhere", ErrNone)
	found.become(elsewhere)
	leads("nowhere", ErrNone)
	found.become(elsewhere, in[0])
	leads(in[0].Address, nil)
	found.become(in[1], in[0], elsewhere)
	leads(in[0].Address, nil) // it is still there
	old := l.Client()
	found.become(in[1], in[2], elsewhere)
	leads(in[2].Address, nil) // the first by address, as all others choose
	if err := old.Ping(t.Context()).Err(); err == nil {
		t.Error("the way to the old one is still open")
	}
	found.become(elsewhere)
	leads(in[2].Address, nil)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	found.become(in[0])
	if err := l.Client().Ping(t.Context()).Err(); err == nil {
		t.Error("closed, it leads somewhere")
	}
}

// TestElsewhereForAsLongAsItTakes: what is in every cloud is read in another one while ours has none.
func TestElsewhereForAsLongAsItTakes(t *testing.T) {
	ours, theirs := redistest.Start(t), redistest.Start(t)
	here := discovery.Instance{Address: ours.Addr(), Cloud: "here"}
	there := discovery.Instance{Address: theirs.Addr(), Cloud: "there"}
	found := &catalogue{}
	l := NewLink(Config{Finder: found, Cloud: "here", Elsewhere: true})
	t.Cleanup(func() { l.Close() })
	for i, step := range []struct {
		found []discovery.Instance
		want  string
	}{
		{[]discovery.Instance{there, here}, here.Address},
		{[]discovery.Instance{there}, there.Address},
		{nil, there.Address},
		{[]discovery.Instance{here, there}, here.Address},
	} {
		found.become(step.found...)
		if err := l.Client().Ping(t.Context()).Err(); err != nil || l.Client().Options().Addr != step.want {
			t.Errorf("step %d: it leads to %q, want %q: %v", i, l.Client().Options().Addr, step.want, err)
		}
	}
}

// TestOneForAll: without a name for its cloud it takes the one there is.
func TestOneForAll(t *testing.T) {
	server := redistest.Start(t)
	for name, l := range map[string]*Link{
		"an address":      NewLink(Config{Finder: at(t, server), Cloud: "here"}),
		"a cloud unnamed": NewLink(Config{Finder: &catalogue{found: []discovery.Instance{{Address: server.Addr(), Cloud: "there"}}}}),
	} {
		t.Cleanup(func() { l.Close() })
		if err := l.Client().Ping(t.Context()).Err(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

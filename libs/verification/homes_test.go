package verification

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/cloudredis"
	"github.com/popvote/popvote/libs/discovery"
	"github.com/popvote/popvote/libs/redistest"
)

// abroad are three clouds' Redis, and the homes as an API server in each of them sees them.
type abroad struct {
	servers map[string]*redistest.Server
	places  *places
	boards  []Fallback
	now     *clock
}

func newAbroad(t *testing.T) *abroad {
	t.Helper()
	a := &abroad{servers: map[string]*redistest.Server{}, places: at(), now: newClock()}
	for _, cloud := range []string{"aws", "gcp", "hetzner"} {
		a.servers[cloud] = redistest.Start(t)
		a.places.found = append(a.places.found, discovery.Instance{Address: a.servers[cloud].Addr(), Cloud: cloud})
	}
	for _, cloud := range []string{"aws", "gcp", "hetzner"} {
		homes := NewHomes(a.places, cloudredis.Access{}, a.now.Now)
		t.Cleanup(func() { homes.Close() })
		a.boards = append(a.boards, NewFallback(dial(t, a.servers[cloud], a.now.Now), homes, a.now.Now))
	}
	return a
}

// home is the cloud where something is at home.
func (a *abroad) home(id string) string {
	h := a.boards[0].homes
	first := h.order(id)[0]
	for cloud, one := range h.homes {
		if one == first {
			return cloud
		}
	}
	return ""
}

// at finds something that is at home in a cloud.
func (a *abroad) at(cloud string) string {
	for n := 0; ; n++ {
		if id := fmt.Sprint("s", n); a.home(id) == cloud {
			return id
		}
	}
}

// TestACodeIsTriedInAnyCloud: a voter's requests come in wherever a balancer sends them.
func TestACodeIsTriedInAnyCloud(t *testing.T) {
	a, right, wrong := newAbroad(t), [32]byte{1}, [32]byte{2}
	for n := range 12 {
		session := fmt.Sprint(n)
		if state, err := a.boards[n%3].NewCode(t.Context(), session, right, rules, a.now.Now()); err != nil || state.Result != Accepted {
			t.Fatalf("%+v, %v", state, err)
		}
		for i := range rules.Tries {
			a.now.move(rules.CheckDelay)
			state, err := a.boards[(n+i+1)%3].TryCode(t.Context(), session, wrong, a.now.Now())
			if err != nil || state.Result != Wrong || state.TriesLeft != rules.Tries-i-1 {
				t.Errorf("try %d: %+v, %v", i, state, err)
			}
		}
		a.now.move(rules.CheckDelay)
		if state, err := a.boards[n%3].TryCode(t.Context(), session, right, a.now.Now()); err != nil || state.Result != Exhausted {
			t.Errorf("one try too many, in another cloud: %+v, %v", state, err)
		}
	}
	for n := range 12 {
		fresh := 0
		for _, b := range a.boards {
			if is, err := b.Spend(t.Context(), fmt.Sprint(n), time.Minute); err != nil {
				t.Error(err)
			} else if is {
				fresh++
			}
		}
		if fresh != 1 {
			t.Errorf("spent in %d of 3 clouds", fresh)
		}
		for _, b := range a.boards {
			if is, err := b.Spent(t.Context(), fmt.Sprint(n)); !is || err != nil {
				t.Errorf("one cloud doesn't know what is spent: %v", err)
			}
			if is, err := b.Spent(t.Context(), fmt.Sprint("not ", n)); is || err != nil {
				t.Errorf("what nobody spent: %v, %v", is, err)
			}
		}
	}
}

// TestAHomeThatIsLost: what was there costs another SMS, the rest goes on.
func TestAHomeThatIsLost(t *testing.T) {
	for how, fault := range map[string]func(*redistest.Server){"killed": (*redistest.Server).Kill, "frozen": (*redistest.Server).Pause} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			a, right := newAbroad(t), [32]byte{1}
			lost, kept := a.at("gcp"), a.at("aws")
			for _, session := range []string{lost, kept} {
				if state, err := a.boards[0].NewCode(t.Context(), session, right, rules, a.now.Now()); err != nil || state.Result != Accepted {
					t.Fatalf("%+v, %v", state, err)
				}
			}
			fault(a.servers["gcp"])
			a.now.move(time.Minute)
			if _, err := a.boards[0].TryCode(t.Context(), lost, right, a.now.Now()); !errors.Is(err, ErrAway) {
				t.Errorf("while it may come back: %v", err)
			}
			if state, err := a.boards[2].NewCode(t.Context(), lost, right, rules, a.now.Now()); err != nil || state.Result != Accepted {
				t.Fatalf("sent again: %+v, %v", state, err)
			}
			a.now.move(rules.CheckDelay)
			for _, session := range []string{lost, kept} {
				if state, err := a.boards[1].TryCode(t.Context(), session, right, a.now.Now()); err != nil || state.Result != Right {
					t.Errorf("%+v, %v", state, err)
				}
			}
			// Once nobody takes it for alive, voters learn that they need another code.
			a.places.mu.Lock()
			a.places.found = slices.DeleteFunc(a.places.found, func(in discovery.Instance) bool { return in.Cloud == "gcp" })
			a.places.mu.Unlock()
			if state, err := a.boards[1].TryCode(t.Context(), "nobody's", right, a.now.Now()); err != nil || state.Result != NoCode {
				t.Errorf("afterwards: %+v, %v", state, err)
			}
		})
	}
}

// TestHomesAreSharedOut evenly, alike in every order in which the clouds are found, and stay where they are when
// another cloud goes.
func TestHomesAreSharedOut(t *testing.T) {
	a := newAbroad(t)
	before, count := map[string]string{}, map[string]int{}
	for n := range 3000 {
		id := fmt.Sprint(n)
		before[id] = a.home(id)
		count[before[id]]++
	}
	for cloud, n := range count {
		if n < 850 || n > 1150 {
			t.Errorf("%s is home to %d of 3,000", cloud, n)
		}
	}
	slices.Reverse(a.places.found)
	for id, was := range before {
		if is := a.home(id); is != was {
			t.Fatalf("%s moved from %s to %s with the order", id, was, is)
		}
	}
	a.places.found = a.places.found[1:] // without hetzner
	for id, was := range before {
		if is := a.home(id); is != was && was != "hetzner" {
			t.Fatalf("%s moved from %s to %s", id, was, is)
		}
	}
}

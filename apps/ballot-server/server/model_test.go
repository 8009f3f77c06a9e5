package server

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
	"github.com/popvote/popvote/libs/receipt"
)

// model is the box as DESIGN.md §4 has it, in memory and without concurrency.
type model struct {
	state    poll.State
	opensAt  time.Time
	closesAt time.Time
	size     int
	voters   map[int]ballotapi.Ballot
	sealed   map[string]bool
	receipts map[int]*ballotapi.Receipt
}

// cast says what has to come of a ballot, and remembers one that is recorded.
func (m *model) cast(now time.Time, who int, b ballotapi.Ballot) problem.Code {
	code := m.judge(now, who, b)
	if _, voted := m.voters[who]; code == "" && !voted {
		m.voters[who], m.sealed[string(b.Sealed)] = b, true
	}
	return code
}

// explain finds an order in which the model gives the outcomes, and leaves the model as after it.
func (m *model) explain(now time.Time, whos []int, ballots []ballotapi.Ballot, outcomes []ballotapi.Outcome) bool {
	if len(ballots) == 0 {
		return true
	}
	for i := range ballots {
		if m.judge(now, whos[i], ballots[i]) != code(outcomes[i]) {
			continue
		}
		_, voted := m.voters[whos[i]]
		m.cast(now, whos[i], ballots[i])
		if m.explain(now, without(whos, i), without(ballots, i), without(outcomes, i)) {
			return true
		}
		if _, votes := m.voters[whos[i]]; votes && !voted {
			delete(m.voters, whos[i])
			delete(m.sealed, string(ballots[i].Sealed))
		}
	}
	return false
}

func without[T any](s []T, i int) []T { return append(slices.Clone(s[:i]), s[i+1:]...) }

// judge says what has to come of a ballot.
func (m *model) judge(now time.Time, who int, b ballotapi.Ballot) problem.Code {
	first, voted := m.voters[who]
	switch {
	case voted && first.Key == b.Key && bytes.Equal(first.Sealed, b.Sealed):
		return ""
	case m.state == poll.Draft:
		return problem.PollNotOpen
	case m.state == poll.Closed, !now.Before(m.closesAt):
		return problem.PollClosed
	case m.state == poll.Paused:
		return problem.PollPaused
	case now.Before(m.opensAt):
		return problem.PollNotOpen
	case len(b.Sealed) != m.size:
		return problem.BallotWrongSize
	case voted && first.Key == b.Key:
		return problem.IdempotencyKeyReused
	case voted:
		return problem.AlreadyVoted
	case m.sealed[string(b.Sealed)]:
		return problem.BallotCopied
	}
	return ""
}

// TestBoxAgainstModel drives the server and the model through the same random life: casts in arrays of
// any mixture (new voters, retries, other ballots, other keys, copies), pauses, extensions, the clock,
// closings, and restarts.
func TestBoxAgainstModel(t *testing.T) { eachDatabase(t, boxAgainstModel) }

func boxAgainstModel(t *testing.T, newBox func(t testing.TB) *box) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBox(t)
		defer b.close()
		now := b.poll.OpensAt.Add(-time.Minute)
		b.clock.set(now)
		m := &model{
			state: poll.Draft, opensAt: b.poll.OpensAt, closesAt: b.poll.ClosesAt, size: len(b.junk()),
			voters: map[int]ballotapi.Ballot{}, sealed: map[string]bool{}, receipts: map[int]*ballotapi.Receipt{},
		}
		var used [][]byte // every sealed ballot so far
		draw := func() (int, ballotapi.Ballot) {
			who := rapid.IntRange(0, 11).Draw(rt, "voter")
			sealed := b.junk()
			switch rapid.IntRange(0, 9).Draw(rt, "ballot") {
			case 0:
				sealed = sealed[1:]
			case 1, 2:
				if len(used) > 0 {
					sealed = used[rapid.IntRange(0, len(used)-1).Draw(rt, "copy of")]
				}
			case 3, 4, 5:
				if first, ok := m.voters[who]; ok {
					sealed = first.Sealed
				}
			}
			used = append(used, sealed)
			return who, cast(who, fmt.Sprint("k", rapid.IntRange(0, 2).Draw(rt, "key")), sealed)
		}
		check := func(who int, ballot ballotapi.Ballot, o ballotapi.Outcome) {
			if err := receipt.VerifyBallot(*o.Receipt, ballot.Sealed, b.signer.Key()); err != nil {
				rt.Fatal(err)
			}
			if before := m.receipts[who]; before != nil && fmt.Sprint(*before) != fmt.Sprint(*o.Receipt) {
				rt.Fatalf("voter %d: a retry got another receipt", who)
			}
			m.receipts[who] = o.Receipt
		}
		rt.Repeat(map[string]func(*rapid.T){
			"cast": func(*rapid.T) {
				n := rapid.IntRange(1, 6).Draw(rt, "ballots")
				var whos []int
				var ballots []ballotapi.Ballot
				for range n {
					who, ballot := draw()
					whos, ballots = append(whos, who), append(ballots, ballot)
				}
				// An array's ballots are cast at once: some order of them has to explain what came of each.
				outcomes := b.cast(ballots...)
				if !m.explain(now, whos, ballots, outcomes) {
					rt.Fatalf("no order of the ballots explains the outcomes %v", outcomes)
				}
				for i, o := range outcomes {
					if o.Receipt != nil {
						check(whos[i], ballots[i], o)
					}
				}
			},
			"open":  func(*rapid.T) { b.try(rt, m, poll.Open, now) },
			"pause": func(*rapid.T) { b.try(rt, m, poll.Paused, now) },
			"close": func(*rapid.T) {
				if rapid.IntRange(0, 5).Draw(rt, "really") == 0 {
					b.try(rt, m, poll.Closed, now)
				}
			},
			"time passes": func(*rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 20).Draw(rt, "minutes")) * time.Minute)
				b.clock.set(now)
			},
			"extend": func(*rapid.T) {
				to := m.closesAt.Add(time.Duration(rapid.IntRange(-30, 60).Draw(rt, "minutes")) * time.Minute)
				err := b.Extend(t.Context(), "lunch", to, me)
				allowed := (m.state == poll.Open || m.state == poll.Paused) && now.Before(m.closesAt) && to.After(m.closesAt)
				if allowed != (err == nil) {
					rt.Fatalf("extending to %v gave %v", to, err)
				}
				if allowed {
					m.closesAt = to
				}
			},
			"tick": func(*rapid.T) { b.ok(b.Tick(t.Context())) },
			"restart": func(*rapid.T) {
				if rapid.IntRange(0, 3).Draw(rt, "really") == 0 {
					b.reopen()
				}
			},
			"": func(*rapid.T) {
				stats, err := b.Stats(t.Context(), "lunch")
				b.ok(err)
				if stats.Total != int64(len(m.voters)) {
					rt.Fatalf("the turnout is %d, want %d", stats.Total, len(m.voters))
				}
				state := m.state
				if (state == poll.Open || state == poll.Paused) && !now.Before(m.closesAt) {
					state = poll.Closed
				}
				if stats.State != state {
					rt.Fatalf("the poll is %s, want %s", stats.State, state)
				}
				m.state = state
			},
		})
	})
}

// try moves the poll where the life cycle and the clock allow it, and checks that it is refused elsewhere.
func (b *box) try(rt *rapid.T, m *model, to poll.State, now time.Time) {
	allowed := poll.CanMove(m.state, to) && (to != poll.Open || now.Before(m.closesAt))
	if (m.state == poll.Open || m.state == poll.Paused) && !now.Before(m.closesAt) {
		m.state, allowed = poll.Closed, false
	}
	err := b.Move(b.t.Context(), "lunch", to, me)
	if allowed != (err == nil) || !allowed && !isRefused(err) {
		rt.Fatalf("from %s to %s gave %v", m.state, to, err)
	}
	if allowed {
		m.state = to
	}
}

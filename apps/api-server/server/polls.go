package server

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
)

const (
	// refreshEvery is how old a poll's state may be; closing itself is decided in the ballot box.
	refreshEvery = time.Second
	// refreshLate is how old the last try must be before a request itself asks for what is not there or not
	// open: that is, not while refreshing goes on by itself. A flood of made-up names costs no call.
	refreshLate = 2 * refreshEvery
	// rereadEvery is how old a manifest may be whose summary in the list has not changed.
	rereadEvery = 10 * time.Second
	// readTimeout bounds one call to the ballot server for reading.
	readTimeout = 5 * time.Second
)

// polls keeps the public polls in memory, fresh to a second. When the ballot server is away, the
// last good state stays: who is asked for the manifest then still answers.
type polls struct {
	reader  ballotapi.Reader
	secrets keyring.Secrets
	clock   func() time.Time
	log     *slog.Logger

	current atomic.Pointer[pollSet]
	// refreshing lets one caller at a time ask the ballot server; guards tried and failing.
	refreshing sync.Mutex
	tried      time.Time
	failing    bool
}

// pollSet is what was read at one time; never changed once published.
type pollSet struct {
	byID map[string]*publicPoll
	list answer
}

// publicPoll is one poll as read.
type publicPoll struct {
	summary  poll.Summary
	manifest poll.Manifest
	read     time.Time
	document answer
	// sealedSize is the exact size of a sealed ballot, bytes.
	sealedSize int
}

func newPolls(reader ballotapi.Reader, secrets keyring.Secrets, clock func() time.Time, log *slog.Logger) *polls {
	return &polls{reader: reader, secrets: secrets, clock: clock, log: log}
}

func (p *polls) snapshot() *pollSet { return p.current.Load() }

// keepFresh refreshes until the context ends.
func (p *polls) keepFresh(ctx context.Context) {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = p.refresh(ctx) // logged there
		}
	}
}

// refresh reads the list, and the manifest of every poll that changed in it.
func (p *polls) refresh(ctx context.Context) error {
	p.refreshing.Lock()
	defer p.refreshing.Unlock()
	return p.refreshLocked(ctx)
}

// refreshIfLate refreshes unless somebody did in time. It waits for one under way.
func (p *polls) refreshIfLate(ctx context.Context) {
	p.refreshing.Lock()
	defer p.refreshing.Unlock()
	if p.clock().Sub(p.tried).Abs() >= refreshLate {
		// The result serves everybody: it must not end with the one who happened to ask.
		_ = p.refreshLocked(context.WithoutCancel(ctx)) // logged there
	}
}

func (p *polls) refreshLocked(ctx context.Context) error {
	now := p.clock()
	p.tried = now
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	next, err := p.read(ctx, now)
	if err != nil {
		if !p.failing && ctx.Err() != context.Canceled {
			p.log.LogAttrs(ctx, slog.LevelWarn, "the ballot server cannot be read; the last state stays", slog.Any("error", err))
		}
		p.failing = true
		return err
	}
	if p.failing {
		p.log.LogAttrs(ctx, slog.LevelInfo, "the ballot server can be read again")
	}
	p.failing = false
	p.current.Store(next)
	return nil
}

func (p *polls) read(ctx context.Context, now time.Time) (*pollSet, error) {
	summaries, err := p.reader.Polls(ctx)
	if err != nil {
		return nil, fmt.Errorf("couldn't list the polls: %w", err)
	}
	next := &pollSet{byID: make(map[string]*publicPoll, len(summaries))}
	last := p.snapshot()
	for _, summary := range summaries {
		var before *publicPoll
		if last != nil {
			before = last.byID[summary.ID]
		}
		if before != nil && sameState(before.summary, summary) && now.Sub(before.read) < rereadEvery {
			next.byID[summary.ID] = before
			continue
		}
		read, err := p.readOne(ctx, summary, now)
		if err != nil {
			return nil, err
		}
		if before != nil {
			read.document = before.document.orNew(read.document)
		}
		if read.manifest.State == poll.Open {
			if _, _, err := p.tagKeys(ctx, read); err != nil {
				p.log.LogAttrs(ctx, slog.LevelWarn, "an open poll has no tag keys yet; the first voter asks for them again", slog.Any("error", err))
			}
		}
		next.byID[summary.ID] = read
	}
	if summaries == nil {
		summaries = []poll.Summary{}
	}
	next.list, err = jsonAnswer(map[string]any{"polls": summaries}, cacheBriefly)
	return next, err
}

func sameState(a, b poll.Summary) bool {
	return a.State == b.State && a.OpensAt.Equal(b.OpensAt) && a.ClosesAt.Equal(b.ClosesAt)
}

func (p *polls) readOne(ctx context.Context, summary poll.Summary, now time.Time) (*publicPoll, error) {
	document, err := p.reader.Manifest(ctx, summary.ID)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the manifest of poll %s: %w", summary.ID, err)
	}
	read := &publicPoll{summary: summary, read: now}
	if err := json.Unmarshal(document.Plain, &read.manifest); err != nil {
		return nil, fmt.Errorf("couldn't understand the manifest of poll %s: %w", summary.ID, err)
	}
	read.sealedSize = ballot.SealedSize(read.manifest.Ballot.Size)
	read.document, err = signedAnswer(document, cacheBriefly)
	return read, err
}

// get returns a poll whatever its state.
func (p *polls) get(ctx context.Context, id string) (*publicPoll, error) {
	set := p.snapshot()
	if set == nil || set.byID[id] == nil {
		if !pollID(id) {
			return nil, problem.New(problem.PollNotFound)
		}
		p.refreshIfLate(ctx)
		if set = p.snapshot(); set == nil {
			return nil, problem.New(problem.Unavailable).After(soon(time.Second))
		}
	}
	if found := set.byID[id]; found != nil {
		return found, nil
	}
	return nil, problem.New(problem.PollNotFound)
}

// open returns a poll that takes votes at the time.
func (p *polls) open(ctx context.Context, id string) (*publicPoll, error) {
	found, err := p.get(ctx, id)
	if err != nil {
		return nil, err
	}
	if found.refusal(p.clock()) != nil && !over(found.manifest.State) {
		p.refreshIfLate(ctx) // it may have opened or been extended since
		if found, err = p.get(ctx, id); err != nil {
			return nil, err
		}
	}
	if refused := found.refusal(p.clock()); refused != nil {
		return nil, refused
	}
	return found, nil
}

// over reports whether a poll in this state will never take votes again.
func over(s poll.State) bool {
	return s == poll.Closed || s == poll.Counted || s == poll.Published
}

// refusal says why a poll takes no votes; nil if it does.
func (p *publicPoll) refusal(now time.Time) error {
	m := &p.manifest
	switch {
	case m.State == poll.Draft:
		return problem.New(problem.PollNotFound)
	case m.State == poll.Paused:
		return problem.New(problem.PollPaused).After(soon(5 * time.Second))
	case m.State != poll.Open, !now.Before(m.ClosesAt):
		return problem.New(problem.PollClosed)
	case now.Before(m.OpensAt):
		return problem.New(problem.PollNotOpen)
	}
	return nil
}

// tagKeys returns the poll's keys for voter and phone tags. They are asked for only of a poll that is
// open: asking makes them, and those of a poll that is over may have been destroyed for good. The ring
// alone keeps them, so that once destroyed they are in nobody's memory.
func (p *polls) tagKeys(ctx context.Context, of *publicPoll) (voter, phone [32]byte, err error) {
	if voter, err = p.secrets.Secret(ctx, keyring.VoterTags, of.manifest.ID); err == nil {
		phone, err = p.secrets.Secret(ctx, keyring.PhoneTags, of.manifest.ID)
	}
	if err != nil {
		return [32]byte{}, [32]byte{}, problem.Wrap(problem.Unavailable, fmt.Errorf("couldn't get the tag keys of poll %s: %w", of.manifest.ID, err)).After(soon(time.Second))
	}
	return voter, phone, nil
}

// pollID reports whether an id has the form of one (the schema PollId).
func pollID(id string) bool {
	if id == "" || len(id) > 40 || id[0] == '-' {
		return false
	}
	for i := range len(id) {
		if b := id[i]; b != '-' && (b < '0' || b > '9') && (b < 'a' || b > 'z') {
			return false
		}
	}
	return true
}

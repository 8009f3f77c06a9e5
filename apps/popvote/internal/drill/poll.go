//go:build unix

package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/popvote/popvote/apps/e2e/votecheck"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/trustee"
)

// Poll is a poll that was opened for one drill, and whose tally key nobody else has.
type Poll struct {
	ID string

	box ballotapi.Admin
	key []byte
}

// change is what the audit chain says about it.
var change = ballotapi.Change{Actor: "popvote drill", Reason: "drill"}

// OpenPoll makes a poll like that of June 2014, in which voters text, and opens it.
func OpenPoll(ctx context.Context, box ballotapi.Admin) (*Poll, error) {
	sample, err := poll.Sample("hk-2014-06")
	if err != nil {
		return nil, err
	}
	key, public, err := trustee.NewKey()
	if err != nil {
		return nil, err
	}
	now := time.Now().Truncate(time.Second)
	definition := sample.Seeded(public, now, now.Add(24*time.Hour))
	definition.ID = "drill-" + now.UTC().Format("2006-01-02-150405")
	p := &Poll{ID: definition.ID, box: box, key: key}
	if err := errors.Join(box.Apply(ctx, *definition, change), p.move(ctx, poll.Open)); err != nil {
		return nil, fmt.Errorf("couldn't open a poll: %w", err)
	}
	return p, nil
}

func (p *Poll) move(ctx context.Context, to poll.State) error {
	return p.box.Move(ctx, p.ID, to, change)
}

// Finish closes the poll, counts and publishes it, leaves its bundle in a directory, and reads it.
func (p *Poll) Finish(ctx context.Context, dir string) (f votecheck.Final, err error) {
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return p.move(ctx, poll.Closed) },
		func(ctx context.Context) error { return p.box.Count(ctx, p.ID, p.key, change) },
		func(ctx context.Context) error { return p.move(ctx, poll.Published) },
	} {
		if err := step(ctx); err != nil {
			return f, fmt.Errorf("couldn't finish the poll %s: %w", p.ID, err)
		}
	}
	path := filepath.Join(dir, p.ID+".zip")
	file, err := os.Create(path)
	if err != nil {
		return f, fmt.Errorf("couldn't keep the poll's bundle: %w", err)
	}
	if err := errors.Join(p.box.Bundle(ctx, p.ID, file), file.Close()); err != nil {
		return f, fmt.Errorf("couldn't keep the poll's bundle: %w", err)
	}
	if f, err = votecheck.ReadBundle(path); err != nil {
		return f, err
	}
	stats, err := p.box.Stats(ctx, p.ID)
	if err != nil {
		return f, fmt.Errorf("couldn't read the operator's figures: %w", err)
	}
	f.Readings = append(f.Readings, votecheck.Reading{Source: "the operator's figures", Ballots: stats.Total})
	return f, nil
}

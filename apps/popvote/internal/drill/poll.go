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

	box func(ctx context.Context) (ballotapi.Admin, error)
	key []byte
}

// change is what the audit chain says about it.
var change = ballotapi.Change{Actor: "popvote drill", Reason: "drill"}

// OpenPoll makes a poll like that of June 2014, in which voters text, and opens it. The box is asked for
// again at the end: the ballot servers may be others by then.
func OpenPoll(ctx context.Context, box func(ctx context.Context) (ballotapi.Admin, error)) (*Poll, error) {
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
	admin, err := box(ctx)
	if err != nil {
		return nil, err
	}
	if err = admin.Apply(ctx, *definition, change); err == nil {
		err = admin.Move(ctx, p.ID, poll.Open, change)
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't open a poll: %w", err)
	}
	return p, nil
}

// Finish closes the poll, counts and publishes it, leaves its bundle in a directory, and reads it.
func (p *Poll) Finish(ctx context.Context, dir string) (f votecheck.Final, err error) {
	box, err := p.box(ctx)
	if err != nil {
		return f, err
	}
	for _, step := range []func() error{
		func() error { return box.Move(ctx, p.ID, poll.Closed, change) },
		func() error { return box.Count(ctx, p.ID, p.key, change) },
		func() error { return box.Move(ctx, p.ID, poll.Published, change) },
	} {
		if err := step(); err != nil {
			return f, fmt.Errorf("couldn't finish the poll %s: %w", p.ID, err)
		}
	}
	path := filepath.Join(dir, p.ID+".zip")
	file, err := os.Create(path)
	if err != nil {
		return f, fmt.Errorf("couldn't keep the poll's bundle: %w", err)
	}
	if err := errors.Join(box.Bundle(ctx, p.ID, file), file.Close()); err != nil {
		return f, fmt.Errorf("couldn't keep the poll's bundle: %w", err)
	}
	if f, err = votecheck.ReadBundle(path); err != nil {
		return f, err
	}
	stats, err := box.Stats(ctx, p.ID)
	if err != nil {
		return f, fmt.Errorf("couldn't read the operator's figures: %w", err)
	}
	f.Readings = append(f.Readings, votecheck.Reading{Source: "the operator's figures", Ballots: stats.Total})
	return f, nil
}

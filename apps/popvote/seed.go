package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/trustee"
)

// The demo's tally keys are split among three trustees, two of whom can count.
const (
	sharesDir  = "trustees"
	demoShares = 3
	demoNeeded = 2
	demoLasts  = 7 * 24 * time.Hour
)

// seedDemo creates and opens the sample polls that are not there yet. It may be cut short anywhere
// and begun again.
func seedDemo(ctx context.Context, a ballotapi.Admin, dataDir string, now time.Time) error {
	change := ballotapi.Change{Actor: "popvote up", Reason: "demonstration (--seed-demo)"}
	for _, id := range poll.SampleIDs() {
		state, err := stateOf(ctx, a, id)
		if err != nil {
			return err
		}
		if state == "" {
			if err := seedPoll(ctx, a, id, filepath.Join(dataDir, sharesDir, id), now, change); err != nil {
				return fmt.Errorf("couldn't create the sample poll %s: %w", id, err)
			}
			state = poll.Draft
		}
		if state == poll.Draft {
			if err := a.Move(ctx, id, poll.Open, change); err != nil {
				return fmt.Errorf("couldn't open the sample poll %s: %w", id, err)
			}
		}
	}
	return nil
}

// seedPoll makes a sample's tally key, leaves its shares where the operator finds them, and applies
// the poll. The shares are durable before the poll exists: its ballots could never be counted without.
func seedPoll(ctx context.Context, a ballotapi.Admin, id, shares string, now time.Time, change ballotapi.Change) error {
	sample, err := poll.Sample(id)
	if err != nil {
		return err
	}
	// Shares of a start that was cut short belong to a key that no poll has.
	if err := os.RemoveAll(shares); err != nil {
		return err
	}
	if err := os.MkdirAll(shares, 0o700); err != nil {
		return err
	}
	scalar, public, err := trustee.NewKey()
	if err != nil {
		return err
	}
	defer clear(scalar)
	parts, err := trustee.Split(scalar, demoNeeded, demoShares)
	if err != nil {
		return err
	}
	for _, part := range parts {
		if err := part.WriteFile(filepath.Join(shares, fmt.Sprintf("share-%d.json", part.Index))); err != nil {
			return err
		}
	}
	if err := errors.Join(syncDir(shares), syncDir(filepath.Dir(shares))); err != nil {
		return err
	}
	opens := now.Truncate(time.Second)
	return a.Apply(ctx, *sample.Seeded(public, opens, opens.Add(demoLasts)), change)
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

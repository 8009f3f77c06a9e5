package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/bundle"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/signed"
	"github.com/popvote/popvote/libs/tally"
	"github.com/popvote/popvote/libs/trustee"
)

// election is a poll that everybody has voted in.
type election struct {
	ballots        int64
	reveal, spread bool
	say            func(step string)

	manifest poll.Manifest
	scalar   []byte
	signer   *signed.Signer
	notes    note.Signer
}

// write makes the bundle. The sealed ballots wait in a file beside it, so that memory stays small.
func (e *election) write(ctx context.Context, path string) (err error) {
	if err := e.prepare(); err != nil {
		return err
	}
	box, err := os.CreateTemp(filepath.Dir(path), ".ballots-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, box.Close(), os.Remove(box.Name())) }()
	if err := e.vote(ctx, box); err != nil {
		return err
	}
	e.say("sealed")

	root, err := e.root(box)
	if err != nil {
		return err
	}
	payload, err := json.Marshal(e.manifest)
	if err != nil {
		return err
	}
	counted, err := tally.Count(ctx, &e.manifest, payload, e.scalar, e.each(box), nil)
	if err != nil {
		return err
	}
	e.say("counted")

	result := counted.Result
	result.CountedAt = e.manifest.ClosesAt.Add(time.Minute)
	result.Log = tally.LogHead{Size: e.ballots, Root: root[:]}
	contents := bundle.Contents{Ballots: e.each(box), Opened: counted.Opened()}
	if contents.Manifest, err = e.signer.Sign(e.manifest); err != nil {
		return err
	}
	if contents.Result, err = e.signer.Sign(result); err != nil {
		return err
	}
	text := fmt.Sprintf("%s\n%d\n%s\n", e.notes.Name(), e.ballots, base64.StdEncoding.EncodeToString(root[:]))
	if contents.Checkpoint, err = note.Sign(&note.Note{Text: text}, e.notes); err != nil {
		return err
	}
	if e.reveal {
		contents.TallyKey = e.scalar
	}
	out, err := os.Create(path) //nolint:gosec // the user names the file
	if err != nil {
		return err
	}
	if err := errors.Join(bundle.Write(out, contents), out.Close()); err != nil {
		return err
	}
	e.say("written")
	return nil
}

// prepare makes the poll and its keys.
func (e *election) prepare() error {
	var document [32]byte
	scalar, _, err := trustee.NewKey()
	if err != nil {
		return err
	}
	copy(document[:], scalar)
	if e.signer, err = signed.NewSigner(document); err != nil {
		return err
	}
	secret, public, err := note.GenerateKey(rand.Reader, "popvote/hk-2014-06")
	if err != nil {
		return err
	}
	if e.notes, err = note.NewSigner(secret); err != nil {
		return err
	}
	var key poll.JWK
	if e.scalar, key, err = trustee.NewKey(); err != nil {
		return err
	}
	sample, err := poll.Sample("hk-2014-06")
	if err != nil {
		return err
	}
	opens := time.Date(2014, 6, 20, 4, 0, 0, 0, time.UTC)
	d := sample.Seeded(key, opens, opens.AddDate(0, 0, 9))
	d.RevealTallyKey = e.reveal
	if e.spread {
		widen(d)
	}
	e.manifest = poll.NewManifest(d, poll.Closed, 4, e.signer.Key(), public, ballot.Size(d))
	return nil
}

// widen lets the first question be answered in 2^24 ways.
func widen(d *poll.Definition) {
	q := &d.Questions[0]
	label := q.Options[0].Label
	q.Options = nil
	for i := range 24 {
		q.Options = append(q.Options, poll.Option{ID: fmt.Sprintf("o%02d", i), Label: label, Kind: poll.Choice})
	}
	q.Min, q.Max = 0, len(q.Options)
}

// draw draws answers that the poll allows.
func (e *election) draw(random *mathrand.Rand) ballot.Answers {
	answers := make(ballot.Answers, len(e.manifest.Questions))
	for i, q := range e.manifest.Questions {
		if q.Max == 1 {
			answers[i] = []string{q.Options[random.IntN(len(q.Options))].ID}
			continue
		}
		for _, o := range q.Options {
			if random.IntN(2) == 0 {
				answers[i] = append(answers[i], o.ID)
			}
		}
	}
	return answers
}

// vote seals all ballots, on all processors, and appends them to the box as they come.
func (e *election) vote(ctx context.Context, box io.Writer) error {
	sealing := runtime.GOMAXPROCS(0)
	sealed := make(chan []byte, 64*sealing)
	failed := make(chan error, sealing)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var voters sync.WaitGroup
	for n := range sealing {
		share := e.ballots / int64(sealing)
		if int64(n) < e.ballots%int64(sealing) {
			share++
		}
		voters.Go(func() {
			random := mathrand.New(mathrand.NewPCG(uint64(n), 2014))
			for range share {
				s, err := ballot.Seal(&e.manifest, e.draw(random))
				if err != nil {
					failed <- err
					cancel()
					return
				}
				select {
				case sealed <- s:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	go func() { voters.Wait(); close(sealed) }()
	w := bufio.NewWriter(box)
	for s := range sealed {
		if _, err := w.Write(s); err != nil {
			return err
		}
	}
	select {
	case err := <-failed:
		return err
	default:
	}
	return errors.Join(context.Cause(ctx), w.Flush())
}

// each yields the box's ballots.
func (e *election) each(box io.ReaderAt) iter.Seq2[[]byte, error] {
	size := ballot.SealedSize(e.manifest.Ballot.Size)
	return func(yield func([]byte, error) bool) {
		in := bufio.NewReader(io.NewSectionReader(box, 0, e.ballots*int64(size)))
		for range e.ballots {
			sealed := make([]byte, size) // a count hands them on
			if _, err := io.ReadFull(in, sealed); err != nil {
				yield(nil, err)
				return
			}
			if !yield(sealed, nil) {
				return
			}
		}
	}
}

// root is the log's, from the hashes that the library stores: 64 bytes a ballot, as the ballot server's
// database holds them.
func (e *election) root(box io.ReaderAt) (tlog.Hash, error) {
	var stored bytes.Buffer
	hashes := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			copy(out[i][:], stored.Bytes()[x*tlog.HashSize:])
		}
		return out, nil
	})
	n := int64(0)
	for sealed, err := range e.each(box) {
		if err != nil {
			return tlog.Hash{}, err
		}
		added, err := tlog.StoredHashesForRecordHash(n, tlog.Hash(ballot.Leaf(e.manifest.ID, sealed)), hashes)
		if err != nil {
			return tlog.Hash{}, err
		}
		for _, h := range added {
			stored.Write(h[:])
		}
		n++
	}
	return tlog.TreeHash(n, hashes)
}

package server

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/bundle"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/problem"
)

// Bundle implements ballotapi.Reader. It is written as it is read: one batch of ballots is held at a time.
func (s *Server) Bundle(ctx context.Context, id string, w io.Writer) error {
	k, err := s.known(ctx, id)
	if err != nil {
		return err
	}
	if k.manifest.State != poll.Published {
		return problem.New(problem.ResultsNotPublished)
	}
	r, err := s.result(ctx, k)
	if err != nil {
		return err
	}
	p, err := s.store.Poll(ctx, id)
	if err != nil {
		return err
	}
	manifest, err := s.store.Manifest(ctx, id, r.Manifest)
	if err != nil {
		return err
	}
	contents := bundle.Contents{Ballots: s.store.Ballots(ctx, p), Opened: unpack(r.Opened)}
	if k.manifest.RevealTallyKey {
		contents.TallyKey = r.TallyKey
	}
	if contents.Manifest, err = document(manifest.JWS); err != nil {
		return fmt.Errorf("couldn't read the manifest of poll %s: %w", id, err)
	}
	if contents.Result, err = document(r.JWS); err != nil {
		return fmt.Errorf("couldn't read the result of poll %s: %w", id, err)
	}
	if contents.Checkpoint, err = s.Checkpoint(ctx, id); err != nil {
		return err
	}
	chain, err := s.chain(ctx, id, k.no)
	if err != nil {
		return err
	}
	if contents.Certificate, err = ballotapi.FindCertificate(chain); err != nil {
		return err
	}
	return bundle.Write(w, contents)
}

// unpack yields the lines that pack wrote.
func unpack(packed []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		z, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			yield(nil, fmt.Errorf("couldn't unpack the opened ballots: %w", err))
			return
		}
		lines := bufio.NewScanner(z)
		for lines.Scan() {
			if !yield(bytes.Clone(lines.Bytes()), nil) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(nil, fmt.Errorf("couldn't unpack the opened ballots: %w", err))
		}
	}
}

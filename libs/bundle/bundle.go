// Package bundle is the public record of a finished poll: one ZIP file that anybody can keep, and that
// `popvote verify` checks without a server. Its layout is described in docs/bundle.md.
package bundle

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/signed"
	"github.com/popvote/popvote/libs/tally"
	"github.com/popvote/popvote/libs/trustee"
)

// The files of a bundle.
const (
	readmeFile     = "README.txt"
	manifestFile   = "manifest.json"
	resultFile     = "result.json"
	checkpointFile = "checkpoint"
	ballotsFile    = "ballots.ndjson"
	openedFile     = "opened.ndjson"
	tallyKeyFile   = "tally-key.json"

	certificateFile = "key-destroyed.json"
)

// Contents is what a bundle is written from.
type Contents struct {
	// Manifest is the signed manifest the count used, byte for byte: the result names its hash.
	Manifest signed.Document
	// Result is the signed tally.Result.
	Result signed.Document
	// Checkpoint is the final signed note of the ballot log.
	Checkpoint []byte
	// Ballots are the sealed ballots in the log's order.
	Ballots iter.Seq2[[]byte, error]
	// Opened are the valid ballots as tally.Counted has them: canonical, sorted.
	Opened iter.Seq2[[]byte, error]
	// TallyKey is the private tally key (32 bytes) if, and only if, the manifest says that it is revealed.
	TallyKey []byte
	// Certificate is the signed ballotapi.Certificate that the identity key was destroyed; nil before.
	Certificate *signed.Document
}

// Write writes a bundle. It holds one ballot at a time. The same contents give the same bytes.
func Write(w io.Writer, c Contents) error {
	// Payloads, not their plain twins: nobody has signed those.
	manifest, _, err := payload[poll.Manifest](c.Manifest)
	if err != nil {
		return fmt.Errorf("couldn't read the manifest: %w", err)
	}
	result, _, err := payload[tally.Result](c.Result)
	if err != nil {
		return fmt.Errorf("couldn't read the result: %w", err)
	}
	if manifest.RevealTallyKey != (c.TallyKey != nil) {
		return fmt.Errorf("couldn't write the bundle: the manifest says reveal_tally_key %t", manifest.RevealTallyKey)
	}
	z := zip.NewWriter(w)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(w, flate.BestSpeed) // sealed ballots do not compress, opened ones always do
	})
	b := &writer{zip: z, modified: result.CountedAt.UTC()}
	b.write(readmeFile, func(w *bufio.Writer) error { return readme(w, manifest) })
	b.document(manifestFile, c.Manifest)
	b.document(resultFile, c.Result)
	b.write(checkpointFile, func(w *bufio.Writer) error { _, err := w.Write(c.Checkpoint); return err })
	b.write(ballotsFile, func(w *bufio.Writer) error { return writeBallots(w, manifest.ID, c.Ballots) })
	b.write(openedFile, func(w *bufio.Writer) error { return writeLines(w, c.Opened) })
	if c.TallyKey != nil {
		b.write(tallyKeyFile, func(w *bufio.Writer) error {
			key, err := trustee.MarshalKey(c.TallyKey)
			if err != nil {
				return err
			}
			_, err = w.Write(key)
			return err
		})
	}
	if c.Certificate != nil {
		b.document(certificateFile, *c.Certificate)
	}
	if b.err != nil {
		return b.err
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("couldn't finish the bundle: %w", err)
	}
	return nil
}

// writer writes files until the first error.
type writer struct {
	zip      *zip.Writer
	modified time.Time
	err      error
}

func (b *writer) write(name string, fill func(*bufio.Writer) error) {
	if b.err != nil {
		return
	}
	f, err := b.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: b.modified})
	if err == nil {
		w := bufio.NewWriter(f)
		if err = fill(w); err == nil {
			err = w.Flush()
		}
	}
	if err != nil {
		b.err = fmt.Errorf("couldn't write %s: %w", name, err)
	}
}

func (b *writer) document(name string, d signed.Document) {
	b.write(name, func(w *bufio.Writer) error {
		data, err := json.Marshal(d)
		if err != nil {
			return err
		}
		_, err = w.Write(append(data, '\n'))
		return err
	})
}

func writeBallots(w *bufio.Writer, pollID string, ballots iter.Seq2[[]byte, error]) error {
	var line []byte
	for sealed, err := range ballots {
		if err != nil {
			return err
		}
		leaf := ballot.Leaf(pollID, sealed)
		line = appendBallot(line[:0], leaf[:], sealed)
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	return nil
}

// The form of a line of ballots.ndjson, to the byte: there is one way to write a ballot.
const ballotHead, ballotMiddle, ballotTail = `{"leaf":"`, `","sealed":"`, `"}`

func appendBallot(line, leaf, sealed []byte) []byte {
	line = append(line, ballotHead...)
	line = base64.StdEncoding.AppendEncode(line, leaf)
	line = append(line, ballotMiddle...)
	line = base64.StdEncoding.AppendEncode(line, sealed)
	line = append(line, ballotTail...)
	return append(line, '\n')
}

// parseBallot reads a line without its end. The sealed ballot is newly allocated.
func parseBallot(line []byte) (leaf [32]byte, sealed []byte, err error) {
	rest, ok := bytes.CutPrefix(line, []byte(ballotHead))
	l, rest, ok2 := bytes.Cut(rest, []byte(ballotMiddle))
	s, ok3 := bytes.CutSuffix(rest, []byte(ballotTail))
	if !ok || !ok2 || !ok3 {
		return leaf, nil, fmt.Errorf("it is not of the form %s…%s…%s", ballotHead, ballotMiddle, ballotTail)
	}
	var buffer [33]byte
	hash, err := base64.StdEncoding.Strict().AppendDecode(buffer[:0], l)
	if err != nil || len(hash) != len(leaf) {
		return leaf, nil, fmt.Errorf("its leaf is not 32 bytes in base64")
	}
	if sealed, err = base64.StdEncoding.Strict().AppendDecode(nil, s); err != nil || len(sealed) == 0 {
		return leaf, nil, fmt.Errorf("its sealed ballot is not base64")
	}
	return [32]byte(hash), sealed, nil
}

func writeLines(w *bufio.Writer, lines iter.Seq2[[]byte, error]) error {
	for line, err := range lines {
		if err != nil {
			return err
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
		if err := w.WriteByte('\n'); err != nil {
			return err
		}
	}
	return nil
}

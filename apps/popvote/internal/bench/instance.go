package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/popvote/popvote/apps/popvote/internal/local"
	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/token"
	"github.com/popvote/popvote/libs/trustee"
)

// instance is what is measured: everything in one process, or the programs apart.
type instance struct {
	// box is who opens the poll and knows what is in it; nil for a target.
	box      ballotapi.Admin
	manifest *poll.Manifest
	tokens   *token.Codec
	// api and phone are host:port.
	api, phone string
	// admins are the origins where profiles are taken, by program.
	admins map[string]string
	// serving are the processes whose processor time is a vote's.
	serving serving
	// apart is what only the programs apart have; nil in one process.
	apart *apart

	// closing undoes what was started, last first.
	closing []func() error
}

func (i *instance) onClose(f func() error) { i.closing = append(i.closing, f) }

// close stops the instance and removes its data.
func (i *instance) close() error {
	var errs []error
	for _, f := range slices.Backward(i.closing) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// limitScale takes the limits out of the way: one address plays a city.
const limitScale = "10000"

// startEmbedded starts everything in one process on a fresh data directory, with one open poll.
func startEmbedded(ctx context.Context, o Options) (*instance, error) {
	i := &instance{}
	dir, err := i.dataDir(o.Dir)
	if err != nil {
		return i, err
	}
	var at struct{ Voters, Phone, Admin string }
	args := []string{
		"up", "-o", "json", "--data", dir, "--listen", "127.0.0.1:0", "--panel-listen", "127.0.0.1:0",
		"--phone-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
		"--limits-scale", limitScale, "--challenge-cost", "1", "--log-level", "error",
	}
	if o.Profile != "" {
		args = append(args, "--pprof")
	}
	up, err := spawn(ctx, &at, args...)
	if err != nil {
		return i, err
	}
	i.onClose(up.stop)
	i.serving = serving{{"popvote", up.cmd.Process.Pid}}
	i.api, i.phone, i.admins = hostOf(at.Voters), hostOf(at.Phone), map[string]string{"up": at.Admin}
	box, err := local.Dial(ctx, dir)
	if err != nil {
		return i, err
	}
	i.onClose(func() error { box.Close(); return nil })
	i.box = box
	return i, i.prepare(ctx, dir)
}

// dataDir makes a data directory that goes when the instance is closed.
func (i *instance) dataDir(parent string) (string, error) {
	dir, err := os.MkdirTemp(parent, "popvote-bench-*")
	if err != nil {
		return "", fmt.Errorf("couldn't make a data directory: %w", err)
	}
	i.onClose(func() error { return os.RemoveAll(dir) })
	return dir, nil
}

// prepare opens a poll, and waits until voters may vote in it. The data directory has the keys.
func (i *instance) prepare(ctx context.Context, dir string) error {
	if err := i.openPoll(ctx); err != nil {
		return fmt.Errorf("couldn't open a poll: %w", err)
	}
	keys, err := keyring.OpenFile(filepath.Join(dir, "keys.json"), time.Now)
	if err != nil {
		return err
	}
	i.tokens = token.NewCodec(keys)
	return i.serves(ctx, i.api)
}

// openPoll opens the June 2014 sample with a tally key that nobody keeps.
func (i *instance) openPoll(ctx context.Context) error {
	sample, err := poll.Sample("hk-2014-06")
	if err != nil {
		return err
	}
	_, public, err := trustee.NewKey()
	if err != nil {
		return err
	}
	now := time.Now().Truncate(time.Second)
	change := ballotapi.Change{Actor: "popvote bench", Reason: "benchmark"}
	if err := i.box.Apply(ctx, *sample.Seeded(public, now, now.Add(24*time.Hour)), change); err != nil {
		return err
	}
	if err := i.box.Move(ctx, sample.ID, poll.Open, change); err != nil {
		return err
	}
	doc, err := i.box.Manifest(ctx, sample.ID)
	if err != nil {
		return err
	}
	i.manifest = &poll.Manifest{}
	return json.Unmarshal(doc.Plain, i.manifest)
}

// serves waits until a public face knows that the poll is open.
func (i *instance) serves(ctx context.Context, api string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		m, err := fetchManifest(ctx, api, i.manifest.ID)
		if err == nil && m.State == poll.Open {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("the instance did not begin to serve the poll"), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// joinInstance takes a running instance as the target.
func joinInstance(ctx context.Context, t Target) (*instance, error) {
	m, err := fetchManifest(ctx, t.API, t.Poll)
	if err != nil {
		return nil, err
	}
	if m.State != poll.Open || m.Verification.Mode != poll.VoterSends || m.Kind == poll.Public {
		return nil, fmt.Errorf("poll %s must be open, a demo or a rehearsal, and of the mode voter_sends", t.Poll)
	}
	return &instance{api: t.API, phone: t.Phone, manifest: m}, nil
}

func fetchManifest(ctx context.Context, api, id string) (*poll.Manifest, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+api+"/v1/polls/"+url.PathEscape(id), nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("couldn't ask for the poll: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the poll: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("couldn't read the poll: %s", res.Status)
	}
	var doc struct{ Document poll.Manifest }
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, fmt.Errorf("couldn't read the poll: %w", err)
	}
	return &doc.Document, nil
}

// sealedSize is a sealed ballot's length in bytes, sealedLength in base64url.
func (i *instance) sealedSize() int   { return ballot.SealedSize(i.manifest.Ballot.Size) }
func (i *instance) sealedLength() int { return (i.sealedSize()*4 + 2) / 3 }

// inTheBox is how many ballots the poll has; -1 where the box cannot be asked.
func (i *instance) inTheBox(ctx context.Context) (int64, error) {
	if i.box == nil {
		return -1, nil
	}
	stats, err := i.box.Stats(ctx, i.manifest.ID)
	if err != nil {
		return 0, fmt.Errorf("couldn't ask how many ballots are in the box: %w", err)
	}
	return stats.Total, nil
}

func hostOf(origin string) string {
	u, err := url.Parse(origin)
	if err != nil {
		return ""
	}
	return u.Host
}

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
	"time"

	"github.com/popvote/popvote/apps/popvote/internal/local"
	"github.com/popvote/popvote/libs/ballot"
	"github.com/popvote/popvote/libs/ballotapi"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/poll"
	"github.com/popvote/popvote/libs/token"
	"github.com/popvote/popvote/libs/trustee"
)

// instance is what is measured.
type instance struct {
	process  *process
	dir      string
	box      *local.Client
	manifest *poll.Manifest
	tokens   *token.Codec
	// before is the ballots it held before the benchmark.
	before int64
	// api and phone are host:port; admin is an origin, empty for a target.
	api, phone, admin string
}

// limitScale takes the limits out of the way: one address plays a city.
const limitScale = "10000"

// startInstance starts an instance on a fresh data directory, with one open poll.
func startInstance(ctx context.Context, parent string, pprof bool) (i *instance, err error) {
	i = &instance{}
	if i.dir, err = os.MkdirTemp(parent, "popvote-bench-*"); err != nil {
		return nil, fmt.Errorf("couldn't make a data directory: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, i.close())
		}
	}()
	var at struct{ Voters, Phone, Admin string }
	args := []string{
		"up", "-o", "json", "--data", i.dir, "--listen", "127.0.0.1:0", "--panel-listen", "127.0.0.1:0",
		"--phone-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
		"--limits-scale", limitScale, "--challenge-cost", "1", "--log-level", "error",
	}
	if pprof {
		args = append(args, "--pprof")
	}
	if i.process, err = spawn(ctx, &at, args...); err != nil {
		return nil, err
	}
	i.api, i.phone, i.admin = hostOf(at.Voters), hostOf(at.Phone), at.Admin
	if i.box, err = local.Dial(ctx, i.dir); err != nil {
		return nil, err
	}
	if err := i.openPoll(ctx); err != nil {
		return nil, fmt.Errorf("couldn't open a poll: %w", err)
	}
	keys, err := keyring.OpenFile(filepath.Join(i.dir, "keys.json"), time.Now)
	if err != nil {
		return nil, err
	}
	i.tokens = token.NewCodec(keys)
	return i, i.serves(ctx)
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

// serves waits until the public face knows that the poll is open.
func (i *instance) serves(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		m, err := fetchManifest(ctx, i.api, i.manifest.ID)
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

// sealedLength is a sealed ballot's length in base64url.
func (i *instance) sealedLength() int { return (ballot.SealedSize(i.manifest.Ballot.Size)*4 + 2) / 3 }

// inTheBox is how many ballots came in since the start; -1 where the box cannot be asked.
func (i *instance) inTheBox(ctx context.Context) (int64, error) {
	if i.box == nil {
		return -1, nil
	}
	stats, err := i.box.Stats(ctx, i.manifest.ID)
	if err != nil {
		return 0, fmt.Errorf("couldn't ask how many ballots are in the box: %w", err)
	}
	return stats.Total - i.before, nil
}

// close stops the instance and removes its data.
func (i *instance) close() error {
	if i.box != nil {
		i.box.Close()
	}
	var err error
	if i.process != nil {
		err = i.process.stop()
	}
	if i.dir != "" {
		err = errors.Join(err, os.RemoveAll(i.dir))
	}
	return err
}

func hostOf(origin string) string {
	u, err := url.Parse(origin)
	if err != nil {
		return ""
	}
	return u.Host
}

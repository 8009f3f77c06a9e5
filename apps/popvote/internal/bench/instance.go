package bench

import (
	"context"
	"crypto/tls"
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
	awaits   [32]byte // the secret of what waiting voters wait for; of startHeld only
	api      face
	phone    string // host:port
	// admins are the origins where profiles are taken, by program.
	admins map[string]string
	// serving are the processes whose processor time is a vote's.
	serving serving
	// acknowledged counts the casts that were.
	acknowledged int64
	// apart is what only the programs apart have; nil in one process.
	apart *apart

	// closing undoes what was started, last first.
	closing []func() error
}

// face is where voters come.
type face struct {
	address string      // host:port
	tls     *tls.Config // nil: plain HTTP
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

// noWaiting takes the waiting room out of it: what is measured is how fast the programs are.
const noWaiting = "1000000"

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
		"--limits-scale", limitScale, "--challenge-cost", "1", "--challenge-most", "1", "--admission-rate", noWaiting, "--log-level", "error",
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
	i.api.address, i.phone, i.admins = hostOf(at.Voters), hostOf(at.Phone), map[string]string{"up": at.Admin}
	box, err := local.Dial(ctx, dir)
	if err != nil {
		return i, err
	}
	i.onClose(func() error { box.Close(); return nil })
	i.box = box
	keys, err := keyring.OpenFile(filepath.Join(dir, "keys.json"), time.Now)
	if err != nil {
		return i, err
	}
	return i, i.prepare(ctx, keys)
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

// prepare opens a poll, and waits until voters may vote in it.
func (i *instance) prepare(ctx context.Context, keys keyring.Tokens) error {
	if err := i.openPoll(ctx); err != nil {
		return fmt.Errorf("couldn't open a poll: %w", err)
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
func (i *instance) serves(ctx context.Context, at face) error {
	return await(ctx, "the poll being served", func(ctx context.Context) error {
		m, err := at.manifest(ctx, i.manifest.ID)
		if err == nil && m.State != poll.Open {
			err = fmt.Errorf("it is %s", m.State)
		}
		return err
	})
}

// await asks until there is no error any more.
func await(ctx context.Context, what string, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	var last error
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err // and not that the time is over
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("couldn't await %s: %w", what, errors.Join(ctx.Err(), last))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// joinInstance takes a running instance as the target.
func joinInstance(ctx context.Context, t Target) (*instance, error) {
	api := face{address: t.API}
	m, err := api.manifest(ctx, t.Poll)
	if err != nil {
		return nil, err
	}
	if m.State != poll.Open || m.Verification.Mode != poll.VoterSends || m.Kind == poll.Public {
		return nil, fmt.Errorf("poll %s must be open, a demo or a rehearsal, and of the mode voter_sends", t.Poll)
	}
	return &instance{api: api, phone: t.Phone, manifest: m}, nil
}

func (f face) manifest(ctx context.Context, id string) (*poll.Manifest, error) {
	origin := "http://"
	if f.tls != nil {
		origin = "https://"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, origin+f.address+"/v1/polls/"+url.PathEscape(id), nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: f.tls, DisableKeepAlives: true}}
	res, err := client.Do(req)
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

// audit asks how many ballots the poll has.
func (i *instance) audit(ctx context.Context) (Box, error) {
	b := Box{Acknowledged: i.acknowledged, InTheBox: -1}
	if i.box == nil {
		return b, nil
	}
	stats, err := i.box.Stats(ctx, i.manifest.ID)
	if err != nil {
		return b, fmt.Errorf("couldn't ask how many ballots are in the box: %w", err)
	}
	b.InTheBox = stats.Total
	return b, nil
}

func hostOf(origin string) string {
	u, err := url.Parse(origin)
	if err != nil {
		return ""
	}
	return u.Host
}

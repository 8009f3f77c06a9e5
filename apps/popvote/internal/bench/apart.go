package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/popvote/popvote/libs/ballotapi/overhttp"
	"github.com/popvote/popvote/libs/discovery"
	"github.com/popvote/popvote/libs/keyring"
	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/mtls/devca"
	"github.com/popvote/popvote/libs/pgcluster"
)

// apart is what the programs apart have beside an instance: the same path with one row each, and the
// database.
type apart struct {
	database *pgcluster.Node
	// naive is host:port of an API server whose ballots are recorded one by one (see Naive), by the
	// processes naivelyServing.
	naive          string
	naivelyServing serving
	// postgres is the database alone.
	postgres serving
}

const (
	ballotServer = "ballot-server"
	apiServer    = "api-server"
	controlPanel = "control-panel"
	// boxName is the database's.
	boxName = "popvote"
)

// site is where the programs apart find each other.
type site struct {
	dir      string
	programs string
	redis    string
	profiles bool
}

func (s *site) keys() string                  { return filepath.Join(s.dir, "keys.json") }
func (s *site) dsn(role string) string        { return filepath.Join(s.dir, role+".dsn") }
func (s *site) certificates(of string) string { return filepath.Join(s.dir, "certs", of) }
func (s *site) binary(name string) string     { return filepath.Join(s.programs, name) }

// startApart starts an API server, a ballot server and PostgreSQL on a fresh directory, with one open
// poll, and beside them an API server for the naive path.
func startApart(ctx context.Context, o Options) (*instance, error) {
	i := &instance{admins: map[string]string{}}
	dir, err := i.dataDir(o.Dir)
	if err != nil {
		return i, err
	}
	s := &site{dir: dir, programs: o.Programs, profiles: o.Profile != ""}
	if _, err := keyring.OpenFile(s.keys(), time.Now); err != nil {
		return i, err
	}
	if _, err := devca.Make(devca.Config{
		Dir: filepath.Join(dir, "certs"), Services: []string{ballotServer, apiServer, controlPanel}, Clock: time.Now,
	}); err != nil {
		return i, err
	}
	if err := i.startDatabase(ctx, s, o.Dir); err != nil {
		return i, err
	}
	if s.redis, err = i.startRedis(dir); err != nil {
		return i, err
	}
	ballots, at, err := i.start(ctx, s, ballotServer, "-data", dir, "-database", s.dsn(ballotRole), "-cluster=false", "-listen", "127.0.0.1:0")
	if err != nil {
		return i, err
	}
	box, err := dialBox(s.certificates(controlPanel), at["services"])
	if err != nil {
		return i, err
	}
	i.onClose(box.Close)
	i.box = box
	api, atAPI, err := i.startAPI(ctx, s, at["services"])
	if err != nil {
		return i, err
	}
	i.api = atAPI
	i.serving = append(serving{{apiServer, api}, {ballotServer, ballots}}, i.apart.postgres...)
	if err := i.prepare(ctx, dir); err != nil {
		return i, err
	}
	return i, i.startNaive(ctx, s, at["services"])
}

// start starts one of the programs.
func (i *instance) start(ctx context.Context, s *site, program string, args ...string) (pid int, at map[string]string, err error) {
	args = append(args, "-tls", s.certificates(program), "-admin", "127.0.0.1:0", "-log-level", "info")
	if s.profiles {
		args = append(args, "-pprof")
	}
	p, at, err := startProgram(ctx, s.binary(program), 2, args...)
	if err != nil {
		return 0, nil, err
	}
	i.onClose(p.stop)
	if i.admins[program] == "" { // the naive path's come second
		i.admins[program] = "http://" + at["admin"]
	}
	return p.cmd.Process.Pid, at, nil
}

func (i *instance) startAPI(ctx context.Context, s *site, ballots string) (pid int, api string, err error) {
	pid, at, err := i.start(ctx, s, apiServer, "-listen", "127.0.0.1:0", "-keys", s.keys(), "-redis-address", s.redis,
		"-ballot-servers", ballots, "-trusted-proxies", "none", "-inbound-number", "+85264500000", "-challenge-cost", "1",
		"-limits-scale", limitScale, "-drain", "0s")
	return pid, at["voters"], err
}

// startNaive starts the path that is the same but for how a ballot is recorded.
func (i *instance) startNaive(ctx context.Context, s *site, ballots string) error {
	var at struct{ Services string }
	recorder, err := spawn(ctx, &at, "bench-naive", s.dir, ballots)
	if err != nil {
		return err
	}
	i.onClose(recorder.stop)
	pid, api, err := i.startAPI(ctx, s, at.Services)
	if err != nil {
		return err
	}
	i.apart.naive = api
	i.apart.naivelyServing = append(serving{{apiServer, pid}, {ballotServer, recorder.cmd.Process.Pid}}, i.apart.postgres...)
	return i.serves(ctx, api)
}

// dialBox is a client of a ballot server, as the service whose certificates are given.
func dialBox(certificates, address string) (*overhttp.Client, error) {
	finder, err := discovery.NewStatic(map[string][]discovery.Instance{ballotServer: {{Address: address}}})
	if err != nil {
		return nil, err
	}
	files, err := mtls.Load(certificates, time.Now)
	if err != nil {
		return nil, err
	}
	return overhttp.NewClient(overhttp.ClientConfig{Finder: finder, Service: ballotServer, TLS: files.Client(ballotServer), Clock: time.Now})
}

// startRedis starts what API servers hear of SMS through. Casts do not touch it.
func (i *instance) startRedis(dir string) (address string, err error) {
	// The port may be taken by somebody else between here and the server's start; then that fails, loudly.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("couldn't find a free port: %w", err)
	}
	address = l.Addr().String()
	_, port, _ := net.SplitHostPort(address) // an address of our own
	if err := l.Close(); err != nil {
		return "", err
	}
	p := newProcess("redis-server", "redis-server", []string{"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no"})
	p.cmd.Stdout = &p.complaints
	if err := p.cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w; make bootstrap installs it", err)
		}
		return "", fmt.Errorf("couldn't start redis-server: %w", err)
	}
	go func() { p.ended <- p.cmd.Wait() }()
	i.onClose(p.stop)
	return address, nil
}

package bench

import (
	"context"
	"fmt"
	"net"
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
	// naive is an API server whose ballots are recorded one by one (see Naive), by the
	// processes naivelyServing.
	naive          face
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
	keys, err := keyring.OpenFile(s.keys(), time.Now)
	if err != nil {
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
	ballots, at, err := i.start(ctx, s, ballotServer, "-tls", s.certificates(ballotServer), "-data", dir, "-database", s.dsn(ballotRole), "-cluster=false", "-listen", "127.0.0.1:0")
	if err != nil {
		return i, err
	}
	panel, err := mtls.Load(s.certificates(controlPanel), time.Now)
	if err != nil {
		return i, err
	}
	if err := i.openBox(panel, at["services"]); err != nil {
		return i, err
	}
	api, atAPI, err := i.startAPI(ctx, s, at["services"])
	if err != nil {
		return i, err
	}
	i.api = atAPI
	i.serving = append(serving{{apiServer, api}, {ballotServer, ballots}}, i.apart.postgres...)
	if err := i.prepare(ctx, keys); err != nil {
		return i, err
	}
	return i, i.startNaive(ctx, s, at["services"])
}

// start starts one of the programs.
func (i *instance) start(ctx context.Context, s *site, program string, args ...string) (pid int, at map[string]string, err error) {
	args = append(args, "-admin", "127.0.0.1:0", "-log-level", "info")
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

func (i *instance) startAPI(ctx context.Context, s *site, ballots string, more ...string) (pid int, api face, err error) {
	pid, at, err := i.start(ctx, s, apiServer, append(more, "-tls", s.certificates(apiServer), "-listen", "127.0.0.1:0", "-keys", s.keys(), "-redis-address", s.redis,
		"-ballot-servers", ballots, "-trusted-proxies", "none", "-inbound-number", inboundNumber, "-challenge-cost", "1", "-challenge-most", "1", "-admission-rate", noWaiting,
		"-limits-scale", limitScale, "-drain", "0s")...)
	return pid, face{address: at["voters"]}, err
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

// openBox asks a ballot server from now on what is in its box.
func (i *instance) openBox(panel mtls.Source, address string) error {
	box, err := dialBox(panel, address)
	if err != nil {
		return err
	}
	i.onClose(box.Close)
	i.box = box
	return nil
}

// dialBox is a client of a ballot server, as the service whose certificates are given.
func dialBox(certificates mtls.Source, address string) (*overhttp.Client, error) {
	finder, err := discovery.NewStatic(map[string][]discovery.Instance{ballotServer: {{Address: address}}})
	if err != nil {
		return nil, err
	}
	return overhttp.NewClient(overhttp.ClientConfig{Finder: finder, Service: ballotServer, TLS: certificates.Client(ballotServer), Clock: time.Now})
}

// startRedis starts what API servers hear of SMS through. Casts do not touch it.
func (i *instance) startRedis(dir string) (address string, err error) {
	ports, err := freePorts(1)
	if err != nil {
		return "", err
	}
	p := newProcess("redis-server", "redis-server", []string{"--port", ports[0], "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "no"})
	if err := p.run(); err != nil {
		return "", err
	}
	i.onClose(p.stop)
	return loopback(ports[0]), nil
}

func loopback(port string) string { return net.JoinHostPort("127.0.0.1", port) }

// freePorts are different ports of loopback. One may be taken by somebody else between here and the
// server's start; then that fails, loudly.
func freePorts(n int) (ports []string, err error) {
	for range n {
		l, err := net.Listen("tcp", loopback("0"))
		if err != nil {
			return nil, fmt.Errorf("couldn't find a free port: %w", err)
		}
		defer func() { _ = l.Close() }()                   // all are open at once, so that they differ
		_, port, _ := net.SplitHostPort(l.Addr().String()) // an address of our own
		ports = append(ports, port)
	}
	return ports, nil
}

package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/apps/popvote/internal/probe"
	"github.com/popvote/popvote/libs/service"
)

// probeFlags are the flags of popvote probe.
type probeFlags struct {
	origin, ca, poll, admin string
	edges, phones           []string
	edgesFile, phonesFile   string
	interval                time.Duration
	once                    bool
	out                     output
}

func newProbeCommand() *cobra.Command {
	f := &probeFlags{}
	cmd := &cobra.Command{
		Use:   "probe",
		Short: "Be a synthetic voter, again and again, and measure how far one comes",
		Long: `Go a voter's way through the public face: connection and certificate, the page, the polls, a challenge, and a
session with an identity number that nobody has, which must be refused. No poll gets a vote, nobody an SMS.

With --poll, go the whole way in a poll for tests: made-up voters prove their phones, vote, and check the
receipt. It has to be of kind rehearsal or demo, best one that nobody else votes in. --phone is a simulated
phone's origin: a made-up number may be somebody's, so never with a provider that sends real SMS. Where several
gateways each have a simulated phone, have the poll's voters send (voter_sends): any phone will do then.

--edge asks certain ways in, whatever the origin's name leads to. --edges and --phones are files of more, one on a
line, which are read again before each round.

It goes on until it is stopped, says in its log who did not come through, and where, and answers /metrics. With
--once it prints how each walk went, and exits with 1 if one failed.

` + exit.Help(),
		Example: `  popvote probe --origin https://vote.example.org --once
  popvote probe --origin https://vote.example.org --edge aws=10.77.1.10:443 --edge gcp=10.77.2.10:443`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, running := range []string{"interval", "admin"} {
				if f.once && cmd.Flags().Changed(running) {
					return exit.Errorf(exit.Usage, "--once and --%s: not both", running)
				}
			}
			config, err := f.config()
			if err != nil {
				return err
			}
			_, wrongEdges := f.targets()
			_, wrongPhones := f.handsets()
			if err := errors.Join(wrongEdges, wrongPhones); err != nil {
				return exit.With(exit.Usage, err)
			}
			if f.once {
				return f.probeOnce(cmd.Context(), config, cmd.OutOrStdout())
			}
			return f.probe(cmd.Context(), config, cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.origin, "origin", "", "the voter page's origin, such as https://vote.example.org")
	flags.StringArrayVar(&f.edges, "edge", nil, "a way in, as NAME=HOST:PORT; without, it is where the origin's name leads (repeat)")
	flags.StringVar(&f.edgesFile, "edges", "", "a `file` of more ways in, which may change")
	flags.StringVar(&f.ca, "ca", "", "a `file` of authorities (PEM) that may have signed the certificate there, in place of the machine's")
	flags.StringVar(&f.poll, "poll", "", "a poll for tests to vote in (its id)")
	flags.StringArrayVar(&f.phones, "phone", nil, "the origin of a simulated phone, such as http://127.0.0.1:8082 (repeat)")
	flags.StringVar(&f.phonesFile, "phones", "", "a `file` of more of them, which may change")
	flags.DurationVar(&f.interval, "interval", 30*time.Second, "the time from one round to the next")
	flags.StringVar(&f.admin, "admin", "127.0.0.1:8084", "where probes and metrics are answered, host:port; never public")
	flags.BoolVar(&f.once, "once", false, "go one round")
	f.out.flag(flags)
	return cmd
}

func (f *probeFlags) config() (c probe.Config, err error) {
	if err := required("origin", f.origin); err != nil {
		return c, err
	}
	if c.Origin, err = webOrigin(f.origin); err != nil {
		return c, exit.Errorf(exit.Usage, "--origin: %w", err)
	}
	if (f.poll == "") != (len(f.phones) == 0 && f.phonesFile == "") {
		return c, exit.Errorf(exit.Usage, "--poll goes with --phone or --phones: who votes needs one")
	}
	if c.Poll = f.poll; f.poll != "" && !pollID.MatchString(f.poll) {
		return c, exit.Errorf(exit.Usage, "--poll: %q is not the id of a poll", f.poll)
	}
	if f.interval < time.Second {
		return c, exit.Errorf(exit.Usage, "--interval %s: a second is the least", f.interval)
	}
	if f.ca != "" {
		text, err := os.ReadFile(f.ca)
		if err != nil {
			return c, exit.Errorf(exit.BadInput, "couldn't read the authorities: %w", err)
		}
		c.Roots = x509.NewCertPool()
		if !c.Roots.AppendCertsFromPEM(text) {
			return c, exit.Errorf(exit.BadInput, "couldn't read the authorities: there is no certificate in %s", f.ca)
		}
	}
	return c, f.out.check()
}

func webOrigin(text string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(text, "/"))
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || *u != (url.URL{Scheme: u.Scheme, Host: u.Host}) {
		return nil, fmt.Errorf("%q is no origin, such as https://vote.example.org", text)
	}
	return u, nil
}

// targets are the ways in, as they are now.
func (f *probeFlags) targets() (edges []probe.Edge, err error) {
	if len(f.edges) == 0 && f.edgesFile == "" {
		return []probe.Edge{{Name: "origin"}}, nil
	}
	lines, err := withFile(f.edges, f.edgesFile)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the edges: %w", err)
	}
	for _, line := range lines {
		name, address, _ := strings.Cut(line, "=")
		if _, _, err := net.SplitHostPort(address); err != nil || name == "" {
			return nil, fmt.Errorf("%q is no edge: want NAME=HOST:PORT", line)
		}
		edges = append(edges, probe.Edge{Name: name, Address: address})
	}
	return edges, nil
}

// handsets are the simulated phones, as they are now.
func (f *probeFlags) handsets() (origins []string, err error) {
	lines, err := withFile(f.phones, f.phonesFile)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the phones: %w", err)
	}
	for _, line := range lines {
		u, err := webOrigin(line)
		if err != nil {
			return nil, err
		}
		origins = append(origins, u.String())
	}
	return origins, nil
}

// withFile adds a file's lines to those given; none is empty.
func withFile(lines []string, path string) (all []string, err error) {
	if path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		lines = slices.Concat(lines, strings.Split(string(text), "\n"))
	}
	for _, line := range lines {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all, nil
}

// probe goes on until the context ends.
func (f *probeFlags) probe(ctx context.Context, config probe.Config, stderr io.Writer) error {
	log, err := service.NewLogger(stderr, "prober", service.DefaultLog())
	if err != nil {
		return err
	}
	metrics := service.NewMetrics("prober")
	p := probe.New(config, probe.Deps{Edges: f.targets, Phones: f.handsets, Log: log, Metrics: metrics})
	// An edge that fails is no fault of the prober's: it is ready.
	health := &service.Health{}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Run(ctx, f.interval)
	}()
	err = service.Serve(ctx, service.Options{Log: log, Health: health},
		service.Listener{Name: "probes and metrics", Address: f.admin, Handler: service.AdminHandler(health, metrics)})
	stop()
	<-ended
	return err
}

// probeOnce goes one round and prints it.
func (f *probeFlags) probeOnce(ctx context.Context, config probe.Config, stdout io.Writer) error {
	walks, err := probe.New(config, probe.Deps{Edges: f.targets, Phones: f.handsets, Log: quietLog(), Metrics: prometheus.NewRegistry()}).Round(ctx)
	if err != nil {
		return err
	}
	if f.out.json() {
		err = writeJSON(stdout, walks)
	} else {
		err = writeWalks(stdout, walks)
	}
	for _, w := range walks {
		if err == nil && w.Err != nil {
			err = fmt.Errorf("%s: %s failed (%s): %w", w.Edge, w.Failed, w.Code, w.Err)
		}
	}
	return err
}

func writeWalks(w io.Writer, walks []*probe.Walk) error {
	t := newTable(w, "EDGE", "STEP", "MS")
	for _, one := range walks {
		for _, s := range one.Steps {
			t.row(one.Edge, s.Step, fmt.Sprintf("%.1f", s.Seconds*1000))
		}
		if one.Err != nil {
			t.row(one.Edge, one.Failed, "failed: "+one.Code)
		}
	}
	return t.flush()
}

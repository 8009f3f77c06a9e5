// Smscsim is an SMSC that isn't, as a program: for trying the SMPP provider out by hand, or another
// gateway against ours.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/popvote/popvote/apps/sms-gateway/smsc"
	"github.com/popvote/popvote/libs/service"
)

const name = "smscsim"

const usage = `smscsim is a simulated SMSC. It speaks SMPP 3.4, keeps what it is sent, and sends
receipts; nothing reaches a phone. At -control it shows what arrived (GET /inbox), takes
texts of voters (POST /texts with from, to and text), says what happened (GET /stats),
and learns to misbehave (PUT /faults). Whoever reaches it can text from any number: both
addresses must be loopback.

Flags:
`

type config struct {
	Listen   string            `koanf:"listen" doc:"Where SMPP is spoken, host:port."`
	Control  string            `koanf:"control" doc:"Where it is controlled over HTTP, host:port."`
	SystemID string            `koanf:"system-id" doc:"The system_id it lets in."`
	Password string            `koanf:"password" doc:"The password it lets in. It guards nothing."`
	Log      service.LogConfig `koanf:"log"`
}

// Validate implements what service.LoadConfig asks.
func (c *config) Validate() error {
	for flag, address := range map[string]string{"-listen": c.Listen, "-control": c.Control} {
		if at, err := netip.ParseAddrPort(address); err != nil || !at.Addr().IsLoopback() {
			return fmt.Errorf("%s: %q is no loopback address and port, such as 127.0.0.1:2775", flag, address)
		}
	}
	return nil
}

func main() {
	os.Exit(service.RunMain(name, os.Stderr, func(ctx context.Context) error {
		return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	}))
}

func run(ctx context.Context, args []string, out, errs io.Writer) error {
	c := config{Listen: "127.0.0.1:2775", Control: "127.0.0.1:2776", SystemID: "popvote", Password: "popvote", Log: service.DefaultLog()}
	if goOn, err := service.ReadCommand(name, usage, args, &c, out, errs); !goOn {
		return err
	}
	log, err := service.NewLogger(errs, name, c.Log)
	if err != nil {
		return fmt.Errorf("%w: %w", service.ErrConfig, err)
	}
	smpp, err := service.Listen(ctx, "SMPP", c.Listen)
	if err != nil {
		return err
	}
	simulated := smsc.New(smsc.Config{SystemID: c.SystemID, Password: c.Password}, smsc.Deps{Clock: time.Now, Log: log})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() {
		defer cancel() // the control alone is of no use
		served <- simulated.Serve(ctx, smpp)
	}()
	started := func([]net.Addr) { log.InfoContext(ctx, "speaking SMPP", slog.String("address", smpp.Addr().String())) }
	err = service.Serve(ctx, service.Options{Log: log, Started: started},
		service.Listener{Name: "control", Address: c.Control, Handler: simulated.Handler()})
	cancel()
	if serving := <-served; err == nil {
		err = serving
	}
	return err
}

package redistest

import (
	"net"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/mtls/devca"
)

func TestAServerIsKilledFrozenAndStartedAgainWhereItWas(t *testing.T) {
	s := Start(t)
	where := s.Addr()
	if !s.answers() {
		t.Fatal("it doesn't answer")
	}
	s.Pause()
	if c, err := net.DialTimeout("tcp", where, time.Second); err != nil {
		t.Errorf("frozen, its port is closed: %v", err)
	} else {
		c.Close()
	}
	if s.answers() {
		t.Error("frozen, it answers")
	}
	s.Resume()
	s.Kill()
	if s.answers() {
		t.Error("killed, it answers")
	}
	s.Start()
	if !s.answers() || s.Addr() != where {
		t.Error("it isn't back")
	}
}

func TestWithTLSAPlainClientHearsNothing(t *testing.T) {
	dirs, err := devca.Make(devca.Config{Dir: t.TempDir(), Services: []string{"redis"}, Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	s := StartWithTLS(t, dirs[0], "open-sesame")
	if !s.answers() {
		t.Error("it doesn't answer")
	}
	plain := &Server{port: s.port}
	if plain.answers() {
		t.Error("it answers without TLS")
	}
}

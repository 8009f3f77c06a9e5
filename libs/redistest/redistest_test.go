package redistest

import (
	"net"
	"testing"
	"time"
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

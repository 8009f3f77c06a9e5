package cloudredis

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/popvote/popvote/libs/discovery"
	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/mtls/devca"
	"github.com/popvote/popvote/libs/redistest"
)

func at(t *testing.T, s *redistest.Server) discovery.Finder {
	t.Helper()
	finder, err := discovery.At(map[string][]string{Service: {s.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	return finder
}

func TestThePasswordComesFromAFileForItsOwnerOnly(t *testing.T) {
	server := redistest.StartWithPassword(t, "open-sesame")
	dir := t.TempDir()
	for _, c := range []struct {
		name, content string
		mode          os.FileMode
		opens, works  bool
	}{
		{"good", "open-sesame\n", 0o600, true, true},
		{"wrong", "open-barley\n", 0o600, true, false},
		{"loose", "open-sesame\n", 0o640, false, false},
		{"empty", "\n", 0o600, false, false},
		{"", "", 0, true, false},
	} {
		path := filepath.Join(dir, c.name)
		if c.name == "" {
			path = ""
		} else if err := os.WriteFile(path, []byte(c.content), c.mode); err != nil {
			t.Fatal(err)
		}
		l, err := Settings{PasswordFile: path}.Link(at(t, server), "", nil)
		if (err == nil) != c.opens {
			t.Errorf("%q: %v", c.name, err)
		}
		if err != nil {
			continue
		}
		if err := l.Client().Ping(t.Context()).Err(); (err == nil) != c.works {
			t.Errorf("%q: %v", c.name, err)
		}
		l.Close()
	}
	if _, err := (EverySettings{PasswordFile: filepath.Join(dir, "none")}).Access(nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that isn't there: %v", err)
	}
}

// TestOverTLS: the certificate says who Redis is, and ours lets us in.
func TestOverTLS(t *testing.T) {
	dir := t.TempDir()
	if _, err := devca.Make(devca.Config{Dir: dir, Services: []string{Service, "api-server", "control-panel"}, Clock: time.Now}); err != nil {
		t.Fatal(err)
	}
	certificates, err := mtls.Load(filepath.Join(dir, "api-server"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	access, err := EverySettings{TLS: true}.Access(certificates)
	if err != nil {
		t.Fatal(err)
	}
	right, wrong := redistest.StartWithTLS(t, filepath.Join(dir, Service), ""), redistest.StartWithTLS(t, filepath.Join(dir, "control-panel"), "")
	ping := func(c *redis.Client) error {
		t.Cleanup(func() { c.Close() })
		return c.Ping(t.Context()).Err()
	}
	if err := ping(access.Client(right.Addr())); err != nil {
		t.Errorf("Redis: %v", err)
	}
	if err := ping(access.Client(wrong.Addr())); !errors.Is(err, mtls.ErrWrongService) {
		t.Errorf("somebody else: %v", err)
	}
	if err := ping(Access{}.Client(right.Addr())); err == nil {
		t.Error("without TLS it answers")
	}
}

package verification

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/redistest"
)

func TestThePasswordComesFromAFileForItsOwnerOnly(t *testing.T) {
	server := redistest.StartWithPassword(t, "open-sesame")
	dir := t.TempDir()
	for _, c := range []struct {
		name, content string
		mode          os.FileMode
		opens         bool
	}{
		{"good", "open-sesame\n", 0o600, true},
		{"loose", "open-sesame\n", 0o640, false},
		{"empty", "\n", 0o600, false},
	} {
		path := filepath.Join(dir, c.name)
		if err := os.WriteFile(path, []byte(c.content), c.mode); err != nil {
			t.Fatal(err)
		}
		r, err := RedisSettings{Address: server.Addr(), PasswordFile: path}.Open(nil, RedisDeps{Clock: time.Now, Log: slog.New(slog.DiscardHandler)})
		if (err == nil) != c.opens {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil {
			continue
		}
		if _, err := r.Spend(t.Context(), "id", time.Minute); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		r.Close()
	}
	for _, s := range []RedisSettings{{}, {Address: server.Addr(), PasswordFile: filepath.Join(dir, "none")}} {
		if _, err := s.Open(nil, RedisDeps{}); err == nil {
			t.Errorf("%+v: taken", s)
		}
	}
}

package devca_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/mtls"
	"github.com/popvote/popvote/libs/mtls/devca"
)

func clock() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

func config(dir string) devca.Config {
	return devca.Config{Dir: dir, Services: []string{"api-server"}, Hosts: []string{"localhost", "::1"}, Clock: clock}
}

func TestASecondRunRenewsLeavesAlone(t *testing.T) {
	dir := t.TempDir()
	read := func(name string) []byte {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if _, err := devca.Make(config(dir)); err != nil {
		t.Fatal(err)
	}
	ca, caKey, cert, key := read("ca.pem"), read("ca-key.pem"), read("api-server/cert.pem"), read("api-server/key.pem")
	made, err := devca.Make(config(dir))
	if err != nil || len(made) != 1 || made[0] != filepath.Join(dir, "api-server") {
		t.Fatal(made, err)
	}
	if !bytes.Equal(ca, read("ca.pem")) || !bytes.Equal(caKey, read("ca-key.pem")) || !bytes.Equal(ca, read("api-server/ca.pem")) {
		t.Error("the CA changed")
	}
	if bytes.Equal(cert, read("api-server/cert.pem")) || bytes.Equal(key, read("api-server/key.pem")) {
		t.Error("the leaf was not renewed")
	}
	if _, err := mtls.Load(made[0], clock); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"ca-key.pem", "api-server/key.pem"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info.Mode(), err)
		}
	}
}

func TestOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"ca-key.pem", "notes.txt"} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := devca.Make(config(dir)); !errors.Is(err, devca.ErrNotOurs) {
			t.Errorf("beside %s: %v", name, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Errorf("it made %v (%v)", left, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	bad := config(dir)
	bad.Services = append(bad.Services, "../elsewhere")
	if _, err := devca.Make(bad); err == nil {
		t.Error("a path was taken for a service")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("it made %v (%v)", left, err)
	}
}

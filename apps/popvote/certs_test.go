package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/libs/mtls"
)

func certs(args ...string) (string, exit.Code) {
	var out bytes.Buffer
	root := newRootCommand()
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(append([]string{"certs"}, args...))
	err := root.Execute()
	return out.String(), exit.Of(err)
}

func TestCerts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	ca := func() string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, mtls.CAFile))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if out, code := certs("--dir", dir); code != exit.OK || !strings.Contains(out, filepath.Join(dir, "api-server")) {
		t.Fatal(code, out)
	}
	before := ca()
	for _, service := range clusterServices {
		if _, err := mtls.Load(filepath.Join(dir, service), time.Now); err != nil {
			t.Error(err)
		}
	}
	if out, code := certs("--dir", dir, "--service", "api-server,station", "-o", "json"); code != exit.OK || !strings.Contains(out, `"directories"`) {
		t.Error(code, out)
	}
	if ca() != before {
		t.Error("the second run made another CA")
	}
	if _, err := mtls.Load(filepath.Join(dir, "station"), time.Now); err != nil {
		t.Error(err)
	}
	if _, code := certs(); code != exit.Usage {
		t.Errorf("without --dir: %d", code)
	}
	taken := t.TempDir()
	if err := os.WriteFile(filepath.Join(taken, "notes.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, code := certs("--dir", taken); code != exit.BadData {
		t.Errorf("in a directory with files: %d", code)
	}
}

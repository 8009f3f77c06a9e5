//go:build linux

package cluster

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func of(t *testing.T, dir string) *Cluster {
	t.Helper()
	c, err := New(Options{Dir: dir, Tools: "../../../../bin/tools", Patience: time.Second, Say: func(time.Duration, string) {}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A directory that holds something else is neither used nor removed.
func TestForeignDirectory(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "thesis.txt")
	if err := os.WriteFile(precious, []byte("years"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := of(t, dir)
	if err := c.Up(t.Context()); err == nil || !strings.Contains(err.Error(), "something else") {
		t.Errorf("up says: %v", err)
	}
	if err := c.Down(t.Context(), false); err == nil {
		t.Error("down removes it")
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

// Every program's configuration is written for its own cloud, readable by nobody else, and names all others.
func TestConfigurations(t *testing.T) {
	c := of(t, t.TempDir())
	c.secrets = secrets{"one", "two", "three", "four"}
	for _, p := range programs {
		path := filepath.Join(t.TempDir(), p.config)
		if err := c.configure(c.Network.Cloud(1), p, path); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %s", p.config, info.Mode())
		}
		for _, want := range []string{"cloud-b", "10.203.0.2"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s doesn't name %s", p.config, want)
			}
		}
		if strings.Contains(string(text), "<no value>") {
			t.Errorf("%s lacks a value", p.config)
		}
	}
}

// What most say counts: one that is cut off tells old news.
func TestAgreed(t *testing.T) {
	each := []Status{{Primary: "cloud-a"}, {Primary: "cloud-b"}, {Primary: "cloud-b"}}
	var so string
	for _, s := range each {
		so = agreed(so, s.Primary, each, func(s Status) string { return s.Primary })
	}
	if so != "cloud-b" {
		t.Errorf("the primary is in %s", so)
	}
	c := of(t, t.TempDir())
	if got := c.Others(c.Network.Cloud(0)); len(got) != 2 || got[0] != netip.MustParseAddr("10.203.0.2") {
		t.Errorf("the others are %s", got)
	}
}

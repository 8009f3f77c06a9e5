package vaulttest_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/popvote/popvote/libs/vaulttest"
)

// TestVault: it can be sealed and unsealed, killed and started again with what it held, and its root token
// is in no argument.
func TestVault(t *testing.T) {
	s := vaulttest.Start(t)
	client := s.Client().Logical()
	mount := map[string]any{"type": "kv"}
	if _, err := client.Write("sys/mounts/kv", mount); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write("kv/kept", map[string]any{"value": "1"}); err != nil {
		t.Fatal(err)
	}
	s.Seal()
	if _, err := client.Read("kv/kept"); err == nil {
		t.Error("sealed, it gives what it holds")
	}
	s.Unseal()
	s.Kill()
	s.Start()
	s.Unseal()
	if kept, err := client.Read("kv/kept"); err != nil || kept.Data["value"] != "1" {
		t.Errorf("after another start: %v, %v", kept, err)
	}

	arguments, err := os.ReadFile("/proc/" + strconv.Itoa(s.PID()) + "/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	if token := s.Client().Token(); token == "" || strings.Contains(string(arguments), token) {
		t.Errorf("the root token is among the arguments %q", arguments)
	}
}

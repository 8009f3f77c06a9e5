package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/libs/poll"
)

// The ceremony from end to end: make, check, combine, split again.
func TestTrusteeCeremony(t *testing.T) {
	dir := t.TempDir()
	shares := filepath.Join(dir, "shares")
	share := func(i string) string { return filepath.Join(shares, "share-"+i+".json") }
	public, errs, code := command(t, "", "trustee", "new", "--needed", "2", "--of", "3", "--dir", shares)
	if code != exit.OK || !strings.Contains(errs, "wrote "+share("3")) {
		t.Fatalf("exit %d: %s", code, errs)
	}
	for _, i := range []string{"1", "2", "3"} {
		if info, err := os.Stat(share(i)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("share %s: %v, %v", i, info, err)
		}
	}

	// What is printed goes into a poll file as it is.
	sample, err := poll.SampleFile("lunch")
	if err != nil {
		t.Fatal(err)
	}
	d, err := poll.Parse("lunch.yaml", append(sample, public...))
	if err != nil || d.Validate() != nil {
		t.Fatalf("the printed key does not fit a poll file: %v %v", err, d)
	}

	if _, errs, code = command(t, "", "trustee", "new", "--needed", "2", "--of", "3", "--dir", shares); code != exit.BadInput {
		t.Errorf("shares were overwritten: exit %d, %s", code, errs)
	}
	if out, errs, code := command(t, "", "trustee", "check", share("1"), share("2"), share("3")); code != exit.OK || strings.Count(out, " ok") != 3 {
		t.Errorf("exit %d: %s %s", code, out, errs)
	}

	key := filepath.Join(dir, "key.json")
	if _, errs, code := command(t, "", "trustee", "combine", share("3"), "--key", key); code != exit.BadInput || !strings.Contains(errs, "1 of 2 shares needed") {
		t.Errorf("one share: exit %d, %s", code, errs)
	}
	first, err := os.ReadFile(share("1"))
	if err != nil {
		t.Fatal(err)
	}
	out, errs, code := command(t, string(first), "trustee", "combine", "-", share("3"), "--key", key)
	if code != exit.OK || out != public {
		t.Errorf("exit %d: %s, %s", code, errs, out)
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", info, err)
	}

	again := filepath.Join(dir, "again")
	out, errs, code = command(t, "", "trustee", "split", key, "--needed", "1", "--of", "1", "--dir", again, "-o", "json")
	var said struct {
		TallyKey poll.JWK `json:"tally_key"`
		Files    []string `json:"files"`
	}
	if err := json.Unmarshal([]byte(out), &said); err != nil || code != exit.OK || said.TallyKey != d.TallyKey || len(said.Files) != 1 {
		t.Errorf("exit %d: %s %s", code, out, errs)
	}
	if _, errs, code := command(t, "", "trustee", "combine", share("1"), said.Files[0], "--key", filepath.Join(dir, "mixed.json")); code != exit.BadInput || !strings.Contains(errs, "not handed out together") {
		t.Errorf("two splits mixed: exit %d, %s", code, errs)
	}
}

func TestTrusteeNamesTheWrongShare(t *testing.T) {
	dir := t.TempDir()
	if _, errs, code := command(t, "", "trustee", "new", "--dir", dir); code != exit.OK {
		t.Fatal(errs)
	}
	second := filepath.Join(dir, "share-2.json")
	data, err := os.ReadFile(second)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	at := strings.Index(text, `"value": "`) + len(`"value": "`) + 5
	damaged := "A"
	if text[at] == 'A' {
		damaged = "B"
	}
	if err := os.WriteFile(second, []byte(text[:at]+damaged+text[at+1:]), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs, code := command(t, "", "trustee", "combine", filepath.Join(dir, "share-1.json"), second, "--key", filepath.Join(dir, "key.json"))
	if code != exit.BadInput || !strings.Contains(errs, "share 2 is wrong") {
		t.Errorf("exit %d: %s", code, errs)
	}
	out, errs, code := command(t, "", "trustee", "check", filepath.Join(dir, "share-1.json"), second)
	if code != exit.BadInput || !strings.Contains(errs, second+": share 2 is wrong") || strings.Count(out, "WRONG") != 1 {
		t.Errorf("exit %d: %s %s", code, out, errs)
	}
	if _, err := os.Stat(filepath.Join(dir, "key.json")); err == nil {
		t.Error("a key was written all the same")
	}
}

func TestTrusteeUsage(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{
		{"new", "--needed", "4", "--of", "3", "--dir", dir},
		{"new", "--needed", "0", "--dir", dir},
		{"new", "--key", filepath.Join(dir, "k"), "--of", "5"},
		{"combine", "x"},
		{"split"},
		{"new", "-o", "yaml", "--dir", dir},
	} {
		if _, errs, code := command(t, "", append([]string{"trustee"}, args...)...); code == exit.OK {
			t.Errorf("%v was done: %s", args, errs)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("something was written: %v %v", left, err)
	}
	// Half a dealing is taken back.
	if err := os.WriteFile(filepath.Join(dir, "share-3.json"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := command(t, "", "trustee", "new", "--dir", dir); code != exit.BadInput {
		t.Errorf("exit %d: %s", code, errs)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left: %v %v", left, err)
	}
	key := filepath.Join(dir, "whole.json")
	if out, errs, code := command(t, "", "trustee", "new", "--key", key); code != exit.OK || !strings.HasPrefix(out, "tally_key:\n") {
		t.Errorf("exit %d: %s %s", code, out, errs)
	}
}

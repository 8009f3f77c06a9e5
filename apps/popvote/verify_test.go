package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/popvote/popvote/apps/popvote/internal/exit"
	"github.com/popvote/popvote/libs/bundle"
)

// goldenBundle is a bundle whose tally key is revealed.
const goldenBundle = "../../libs/bundle/testdata/golden.zip"

// command runs popvote as from a shell.
func command(t *testing.T, stdin string, args ...string) (stdout, stderr string, code exit.Code) {
	t.Helper()
	var out, errs bytes.Buffer
	root := newRootCommand()
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	if err != nil {
		errs.WriteString(err.Error())
	}
	return out.String(), errs.String(), exit.Of(err)
}

func TestVerifyCommand(t *testing.T) {
	out, errs, code := command(t, "", "verify", goldenBundle, "-o", "json")
	var report struct {
		OK         bool   `json:"ok"`
		SigningKey string `json:"signing_key"`
		Ballots    int64  `json:"ballots"`
		Checks     []bundle.Check
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != exit.OK || errs != "" {
		t.Fatalf("exit %d: %v %s", code, err, errs)
	}
	if !report.OK || report.Ballots != 4 || len(report.Checks) != 15 {
		t.Errorf("%+v", report)
	}

	out, _, code = command(t, "", "verify", goldenBundle)
	if code != exit.OK || !strings.Contains(out, "The bundle holds, if the organiser announced the key\n"+report.SigningKey) || !strings.Contains(out, "Alliance for True Democracy Proposal") {
		t.Errorf("exit %d: %s", code, out)
	}
	out, _, code = command(t, "", "verify", goldenBundle, "--key="+report.SigningKey)
	if code != exit.OK || !strings.Contains(out, "The bundle holds: 4 ballots") || strings.Contains(out, "not possible") {
		t.Errorf("exit %d: %s", code, out)
	}
	out, errs, code = command(t, "", "verify", goldenBundle, "--key=another")
	if code != exit.Unproven || !strings.Contains(out, "does NOT prove its result: 1 check failed") || !strings.Contains(errs, "does not prove its result") {
		t.Errorf("exit %d: %s %s", code, out, errs)
	}
	if strings.Contains(out, "Alliance") {
		t.Error("a result that is not proven was printed")
	}
}

func TestVerifyCommandBadInput(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct {
		code exit.Code
		says string
		args []string
	}{
		{exit.BadInput, "couldn't open the bundle", []string{filepath.Join(dir, "none.zip")}},
		{exit.BadInput, "this is not a bundle", []string{file("noise.zip", "noise")}},
		{exit.BadInput, "is a directory", []string{dir}},
		{exit.BadInput, "couldn't read the receipt", []string{goldenBundle, "--receipt", filepath.Join(dir, "none.json")}},
		{exit.BadInput, "couldn't read the tally key", []string{goldenBundle, "--tally-key", "-"}},
		{exit.Unproven, "does not prove", []string{goldenBundle, "--receipt", file("receipt.json", "{}")}},
		{exit.Usage, "-o is", []string{goldenBundle, "-o", "xml"}},
		{exit.Usage, "unknown flag", []string{goldenBundle, "--nonsense"}},
		{exit.Usage, "accepts 1 arg", nil},
	} {
		_, errs, code := command(t, "", append([]string{"verify"}, c.args...)...)
		if code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("%v: exit %d, %s", c.args, code, errs)
		}
	}
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/popvote/popvote/libs/bundle"
)

// What is measured must be a real bundle: every check holds, and none is left out but the announced key.
func TestABundleThatHolds(t *testing.T) {
	for _, args := range [][]string{{}, {"-spread"}, {"-reveal=false"}} {
		path := filepath.Join(t.TempDir(), "bundle.zip")
		var errs bytes.Buffer
		if code := run(t.Context(), append(args, "-ballots", "300", path), &errs); code != 0 {
			t.Fatalf("%v: exit %d: %s", args, code, &errs)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		report, err := bundle.Verify(t.Context(), file, info.Size(), nil)
		if err != nil || report.Ballots != 300 {
			t.Fatalf("%v: %v, %+v", args, err, report)
		}
		var open []string
		for _, c := range report.Checks {
			if c.Status != bundle.OK {
				open = append(open, string(c.ID)+":"+string(c.Status))
			}
		}
		want := "pinned-key:not_possible"
		if len(args) > 0 && args[0] == "-reveal=false" {
			want += " reopened:not_possible"
		}
		if got := strings.Join(open, " "); got != want {
			t.Errorf("%v: %s, want %s", args, got, want)
		}
		if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 || file.Close() != nil {
			t.Errorf("%v: left behind: %v %v", args, left, err)
		}
	}
	if code := run(t.Context(), []string{"-ballots", "-1", "x"}, &bytes.Buffer{}); code != 2 {
		t.Errorf("-1 ballots: exit %d", code)
	}
}

package secretfile_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/popvote/popvote/libs/secretfile"
)

func TestOnlyAFileThatNobodyElseReadsIsASecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	write := func(content string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		content string
		mode    os.FileMode
		want    string // of the error; empty where there is none
	}{
		{"s3cret\r\n", 0o600, ""},
		{"s3cret", 0o400, ""},
		{"s3cret", 0o640, "want 0600"},
		{"s3cret", 0o604, "want 0600"},
		{"\n", 0o600, "is empty"},
		{strings.Repeat("x", 65<<10), 0o600, "no file with a secret"},
	} {
		write(c.content, c.mode)
		got, err := secretfile.Read(path)
		if c.want == "" && (err != nil || got != "s3cret") {
			t.Errorf("%.9q of mode %o: %q, %v", c.content, c.mode, got, err)
		}
		if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%.9q of mode %o: %v, want %q", c.content, c.mode, err, c.want)
		}
		if checked := secretfile.Check("", path); (checked == nil) != (err == nil) {
			t.Errorf("%.9q of mode %o: read says %v, and check %v", c.content, c.mode, err, checked)
		}
	}
	if _, err := secretfile.Read(filepath.Dir(path)); err == nil {
		t.Error("a directory is a secret")
	}
}

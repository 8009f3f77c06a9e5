package e2e_test

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/popvote/popvote/apps/e2e/instance"
	"github.com/popvote/popvote/libs/poll"
)

// Starts that cannot work end at once, with a documented exit code and a sentence that says what to do.
func TestBadStarts(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	running := instance.Start(t, popvote, instance.Options{})
	file := write(t, "a-file", "")
	brokenPoll := write(t, "broken.yaml", "id: test\nkind: demo\nlanguages: [en\n")
	sample, err := poll.SampleFile(lunch)
	if err != nil {
		t.Fatal(err)
	}
	wrongPoll := write(t, "wrong.yaml", "colour: blue\n"+string(sample))
	config := write(t, "config.yaml", "lisen: 127.0.0.1:9\n")

	for _, c := range []struct {
		name string
		o    instance.Options
		code int
		says []string
	}{
		{"port taken", instance.Options{At: &instance.Addresses{
			Voters: taken.Addr().String(), Panel: "127.0.0.1:0", Phone: "127.0.0.1:0", Admin: "127.0.0.1:0",
		}}, 3, []string{taken.Addr().String(), "in use"}},
		{"data directory is a file", instance.Options{Data: file}, 11, []string{file}},
		{"data directory below a file", instance.Options{Data: filepath.Join(file, "data")}, 11, []string{file}},
		{"data directory not writable", instance.Options{Data: "/proc/popvote"}, 11, []string{"/proc/popvote"}},
		{"data directory in use", instance.Options{Data: running.Data}, 12, []string{running.Data, "in use"}},
		{"newer version", instance.Options{Data: newerData(t)}, 13, []string{"newer"}},
		{"broken poll file", instance.Options{Args: []string{"--poll", brokenPoll}}, 10, []string{brokenPoll + ":3:"}},
		{"wrong poll file", instance.Options{Args: []string{"--poll", wrongPoll}}, 10, []string{wrongPoll + ":1:1", "colour"}},
		{"no poll file", instance.Options{Args: []string{"--poll", "no-such-file.yaml"}}, 10, []string{"no-such-file.yaml"}},
		{"unknown setting", instance.Options{Args: []string{"--config", config}}, 2, []string{"lisen"}},
		{"unknown flag", instance.Options{Args: []string{"--colour", "blue"}}, 2, []string{"colour"}},
		{"wrong log level", instance.Options{Args: []string{"--log-level", "loud"}}, 2, []string{"loud"}},
		{"phone network for everybody", instance.Options{At: &instance.Addresses{
			Voters: "127.0.0.1:0", Panel: "127.0.0.1:0", Phone: "0.0.0.0:0", Admin: "127.0.0.1:0",
		}}, 2, []string{"loopback"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, said := instance.Try(t, popvote, c.o)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, word := range c.says {
				if !strings.Contains(said, word) {
					t.Errorf("it does not say %q:\n%s", word, said)
				}
			}
			if lines := strings.Count(strings.TrimSpace(said), "\n"); lines > 4 || strings.Contains(said, "goroutine") || strings.Contains(said, "Usage:") {
				t.Errorf("that is not one clear sentence:\n%s", said)
			}
		})
	}
	// None of it disturbed the one that runs.
	if status, _ := running.Fetch("/livez"); status != 200 {
		t.Errorf("/livez of the running instance: %d", status)
	}
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newerData is a data directory as a version from the future leaves it: with a migration that this one
// does not know.
func newerData(t *testing.T) string {
	t.Helper()
	i := instance.Start(t, popvote, instance.Options{})
	if code := i.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	path := filepath.Join(i.Data, "popvote.db")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(content, []byte("0001")) {
		t.Fatal("the database does not name its migrations as expected")
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(content, []byte("0001"), []byte("9001")), 0o600); err != nil {
		t.Fatal(err)
	}
	return i.Data
}

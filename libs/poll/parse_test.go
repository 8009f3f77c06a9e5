package poll_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/poll"
)

// testKey is a key nobody holds the other half of any more.
var testKey = func() poll.JWK {
	k := poll.JWK{
		Kty: "EC", Crv: "P-256",
		X: "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", // RFC 7515, appendix A.3
		Y: "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
	}
	k.Kid = k.Thumbprint()
	return k
}()

var update = flag.Bool("update", false, "write what Parse says of the broken poll files into them")

// TestParseFaults reads testdata/*.yaml; what is wrong with each is at its end, after a line of "#=".
func TestParseFaults(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("couldn't find the broken poll files", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			body, want, _ := strings.Cut(string(data), "#=\n")
			var lines []string
			for l := range strings.Lines(want) {
				lines = append(lines, strings.TrimSuffix(strings.TrimPrefix(l, "# "), "\n"))
			}
			d, err := poll.Parse(filepath.Base(name), []byte(body))
			if err == nil {
				t.Fatalf("no error, but %+v", d)
			}
			if *update {
				golden := body + "#=\n# " + strings.ReplaceAll(err.Error(), "\n", "\n# ") + "\n"
				if err := os.WriteFile(name, []byte(golden), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got, want := err.Error(), strings.Join(lines, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			fe, ok := errors.AsType[*poll.FileError](err)
			if !ok {
				t.Fatalf("a %T, not a *FileError", err)
			}
			if fe.Line != fe.Faults[0].Line || fe.Column != fe.Faults[0].Column {
				t.Error("the error's place is not that of its first fault")
			}
		})
	}
}

func TestSamples(t *testing.T) {
	ids := poll.SampleIDs()
	if strings.Join(ids, " ") != "hk-2014-06 lunch" {
		t.Fatal(ids)
	}
	for _, id := range ids {
		d, err := poll.Sample(id)
		if err != nil {
			t.Fatal(err)
		}
		if d.ID != id || d.Kind != poll.Demo {
			t.Errorf("%s: id %s, kind %s", id, d.ID, d.Kind)
		}
		if len(d.Languages) != len(poll.Languages) {
			t.Errorf("%s: not in every language: %v", id, d.Languages)
		}
		if err := d.Validate(); err == nil || !strings.Contains(err.Error(), "tally_key: is missing") {
			t.Errorf("%s: valid without a tally key: %v", id, err)
		}
		now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
		if err := d.Seeded(testKey, now, now.Add(time.Hour)).Validate(); err != nil {
			t.Errorf("%s: %v", id, err)
		}
		if !d.TallyKey.IsZero() {
			t.Errorf("%s: seeding changed the sample itself", id)
		}
	}
	if _, err := poll.Sample("../poll.go"); err == nil {
		t.Error("a sample that is none was found")
	}
}

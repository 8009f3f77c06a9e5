package poll_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/poll"
)

func valid(tb testing.TB) *poll.Definition {
	tb.Helper()
	data, err := os.ReadFile("testdata/valid.txt")
	if err != nil {
		tb.Fatal(err)
	}
	d, err := poll.Parse("valid", data)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func TestParseDefaults(t *testing.T) {
	d := valid(t)
	if d.Verification.Seconds != 180 || d.Verification.BallotSeconds != 1800 {
		t.Errorf("times %+v", d.Verification)
	}
	if q := d.Questions[0]; q.Order != "fixed" || q.Options[0].Kind != poll.Choice {
		t.Errorf("question %+v", q)
	}
	if d.RevealTallyKey {
		t.Error("the tally key is revealed by default")
	}
	if d.SealOnServer {
		t.Error("the server seals by default")
	}
	if want := time.Date(2026, 11, 1, 9, 0, 0, 0, time.UTC); !d.OpensAt.Equal(want) {
		t.Errorf("opens at %v", d.OpensAt)
	}
}

// A definition that did not come from a file has its faults named by path.
func TestValidateFaults(t *testing.T) {
	d := valid(t)
	d.ID, d.Questions[0].Options[1].Label["en"] = "", "a\x00b"
	d.TallyKey = poll.JWK{}
	want := "id: is missing\nquestions[0].options[1].label.en: has characters that cannot be shown\ntally_key: is missing: make one with `popvote trustee new`"
	if err := d.Validate(); err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// TestAPollSaysWhoAsksAndWhy, how long that is kept and what the result is worth, in each of its languages.
func TestAPollSaysWhoAsksAndWhy(t *testing.T) {
	for _, c := range []struct {
		change func(*poll.Definition)
		says   string
	}{
		{func(d *poll.Definition) { d.Organiser.Name = nil }, "organiser.name: is missing"},
		{func(d *poll.Definition) { d.Notice.Purpose = nil }, "notice.purpose: is missing"},
		{func(d *poll.Definition) { d.Notice.Retention = nil }, "notice.retention: is missing"},
		{func(d *poll.Definition) { d.Notice.Effect = nil }, "notice.effect: is missing"},
		{func(d *poll.Definition) { d.Notice.Purpose["en"] = " " }, "notice.purpose.en: is empty"},
		{func(d *poll.Definition) { d.Languages = append(d.Languages, "zh-Hans") }, "notice.purpose: has no text in zh-Hans"},
	} {
		d := valid(t)
		c.change(d)
		if err := d.Validate(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("got %v, want %q", err, c.says)
		}
	}
}

func TestLimits(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*poll.Definition)
		says   string
	}{
		"questions": {func(d *poll.Definition) {
			for range poll.MaxQuestions {
				d.Questions = append(d.Questions, d.Questions[0])
			}
		}, "questions: has 21 questions"},
		"options": {func(d *poll.Definition) {
			for range poll.MaxOptions {
				d.Questions[0].Options = append(d.Questions[0].Options, d.Questions[0].Options[0])
			}
		}, "questions[0].options: has 102 options"},
		"title":  {func(d *poll.Definition) { d.Title["en"] = strings.Repeat("長", 301) }, "title.en: has 301 characters"},
		"notice": {func(d *poll.Definition) { d.Notice.Effect["en"] = strings.Repeat("x", 6001) }, "notice.effect.en: has 6001 characters"},
		"ballot": {func(d *poll.Definition) {
			for q := range 4 {
				d.Questions = append(d.Questions[:q:q], poll.Question{ID: fmt.Sprint("q", q), Title: poll.Text{"en": "Q"}, Max: 30, Order: "fixed"})
				for o := range 30 {
					d.Questions[q].Options = append(d.Questions[q].Options, poll.Option{
						ID: fmt.Sprintf("%s%02d", strings.Repeat("o", 36), o), Label: poll.Text{"en": "O"}, Kind: poll.Choice,
					})
				}
			}
		}, "questions: the longest ballot has"},
	} {
		d := valid(t)
		c.change(d)
		if err := d.Validate(); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseRefusesHugeAndDeep(t *testing.T) {
	for name, data := range map[string]string{
		"long":     strings.Repeat("# nothing\n", poll.MaxFileBytes/10+1),
		"brackets": "title: " + strings.Repeat("[", 100_000),
		"dashes":   strings.Repeat("- ", 100_000) + "x",
		"indented": strings.Repeat(" ", 300) + "x: y",
	} {
		start := time.Now()
		if _, err := poll.Parse(name, []byte(data)); err == nil {
			t.Errorf("%s: no error", name)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}

// Every move there is; all others are refused.
func TestCanMove(t *testing.T) {
	allowed := "draft>open open>paused open>closed paused>open paused>closed closed>counted counted>published"
	var got []string
	for _, from := range poll.States {
		for _, to := range poll.States {
			if poll.CanMove(from, to) {
				got = append(got, string(from)+">"+string(to))
			}
		}
	}
	if strings.Join(got, " ") != allowed {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), allowed)
	}
	if poll.CanMove("", poll.Open) || poll.CanMove("lost", poll.Open) {
		t.Error("an unknown state moves")
	}
}

func TestJWKCheck(t *testing.T) {
	if err := testKey.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*poll.JWK){
		"kty":      func(k *poll.JWK) { k.Kty = "RSA" },
		"crv":      func(k *poll.JWK) { k.Crv = "P-384" },
		"x":        func(k *poll.JWK) { k.X = k.Y },
		"short":    func(k *poll.JWK) { k.X = k.X[:40] },
		"padded":   func(k *poll.JWK) { k.X += "=" },
		"kid":      func(k *poll.JWK) { k.Kid = "mine" },
		"infinity": func(k *poll.JWK) { k.X, k.Y = strings.Repeat("A", 43), strings.Repeat("A", 43) },
	} {
		k := testKey
		change(&k)
		if name != "kid" {
			k.Kid = k.Thumbprint()
		}
		if k.Check() == nil {
			t.Errorf("%s: %+v was taken for a key", name, k)
		}
	}
}

// A manifest says all a definition says, and gives it back.
func TestManifestKeepsTheDefinition(t *testing.T) {
	for _, id := range poll.SampleIDs() {
		d, err := poll.Sample(id)
		if err != nil {
			t.Fatal(err)
		}
		opens := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
		d = d.Seeded(testKey, opens, opens.Add(time.Hour))
		d.RevealTallyKey, d.SealOnServer = true, true
		m := poll.NewManifest(d, poll.Open, 3, testKey, "log+key", 128)
		if m.State != poll.Open || m.Sequence != 3 || m.LogKey != "log+key" || m.Ballot != (poll.BallotRules{Suite: poll.Suite, Size: 128, TallyKey: testKey}) {
			t.Errorf("%s: %+v", id, m)
		}
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var back poll.Manifest
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(back.Definition(), d) {
			t.Errorf("%s: the definition changed on its way", id)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, id := range poll.SampleIDs() {
		data, err := poll.SampleFile(id)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	small, err := os.ReadFile("testdata/valid.txt")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(small)
	for _, s := range []string{"", "---\n...\n", "a: &a [*a]", "{[", "? - :", "id: |\n\t x", "'", "\"\\", "!!binary x", "<<: {a: b}", "\xff", "questions: [{}]"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := poll.Parse("fuzz.yaml", data)
		if err == nil {
			if d.Kind == poll.Demo && d.TallyKey.IsZero() {
				d.TallyKey = testKey
			}
			if err := d.Validate(); err != nil {
				t.Fatalf("parsed, but not valid: %v", err)
			}
			return
		}
		fe, ok := errors.AsType[*poll.FileError](err)
		if !ok || len(fe.Faults) == 0 || fe.Line < 1 || fe.Column < 1 {
			t.Fatalf("no place: %#v", err)
		}
		for _, fault := range fe.Faults {
			if fault.Line < fe.Line || fault.Column < 1 || fault.Message == "" || strings.Contains(fault.Message, "\n") {
				t.Fatalf("fault %+v", fault)
			}
		}
	})
}

package sms

import (
	"bytes"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestTextsFindsWhatVotersMean(t *testing.T) {
	const want = "VOTE AB0D1234"
	for name, body := range map[string]string{
		"as asked":                   "VOTE AB0D1234",
		"lower case":                 "vote ab0d1234",
		"full width":                 "ＶＯＴＥ　ＡＢ０Ｄ１２３４",
		"full-width lower case":      "ｖｏｔｅ　ａｂ０ｄ１２３４",
		"letter O for zero":          "VOTE ABOD1234",
		"letters I and L for one":    "VOTE AB0DI234\n",
		"lower-case l for one":       "vote ab0dl234",
		"no space":                   "VOTEAB0D1234",
		"spaces inside":              "VOTE AB0D 12 34",
		"hyphens inside":             "VOTE AB0D-1234",
		"one letter at a time":       "vote a b 0 d 1 2 3 4",
		"in quotation marks":         "“VOTE AB0D1234”",
		"in corner brackets":         "「VOTE AB0D1234」",
		"full stop":                  "Vote AB0D1234.",
		"no keyword":                 "ab0d1234",
		"keyword with a zero":        "v0te ab0d1234",
		"misspelt keyword":           "VOET AB0D1234",
		"words before":               "hello, my text is VOTE AB0D1234",
		"words after":                "VOTE AB0D1234 thank you",
		"words between":              "VOTE the code is AB0D1234",
		"Chinese around":             "請登記VOTE AB0D1234多謝",
		"Chinese around and no room": "投票AB0D1234謝謝",
		"quoted reply":               "> Send VOTE AB0D1234 to 6500\nok",
		"twice":                      "VOTE AB0D1234 VOTE AB0D1234",
		"non-breaking space":         "VOTE\u00a0AB0D1234",
		"zero-width space":           "VOTE AB0D\u200b1234",
		"broken UTF-8":               "VOTE\xff AB0D1234\xfe",
	} {
		if got := Texts(body); !slices.Contains(got, want) {
			t.Errorf("%s: Texts(%q) = %q, without %q", name, body, got, want)
		}
	}
}

func TestTextsPutsTheLikeliestFirst(t *testing.T) {
	for body, want := range map[string][]string{
		"VOTE AB0D1234":                   {"VOTE AB0D1234"},
		"VOTE AB0D1234 VOTE AB0D1234":     {"VOTE AB0D1234"},
		"PREPA1DX vote AB0D1234":          {"VOTE AB0D1234", "VOTE PREPA1DX"},
		"VOTE AAAAAAAA BBBBBBBB":          {"VOTE AAAAAAAA", "VOTE BBBBBBBB"},
		"my code is AB0D1234 many thanks": {"VOTE AB0D1234", "VOTE MYC0DE1S"},
	} {
		if got := Texts(body); !slices.Equal(got, want) {
			t.Errorf("Texts(%q) = %q, want %q", body, got, want)
		}
	}
}

func TestTextsFindsNothingInAWrongText(t *testing.T) {
	for _, body := range []string{
		"", " ", "VOTE", "hello", "VOTE AB0D123", "VOTE AB0D12345", "VOTE UUUUUUUU", "投票",
		"VOTE " + strings.Repeat("A", 5000), strings.Repeat(".", maxBody) + "VOTE AB0D1234",
	} {
		if got := Texts(body); len(got) != 0 {
			t.Errorf("Texts(%.40q) = %q, want none", body, got)
		}
	}
}

func TestNewTextIsReadBackAndNeverTheSame(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		text := NewText(rand.Reader)
		if seen[text] {
			t.Fatalf("%q came twice", text)
		}
		seen[text] = true
		if got := Texts(text); len(got) != 1 || got[0] != text {
			t.Fatalf("Texts(%q) = %q", text, got)
		}
	}
}

func TestNewTextUsesTheWholeAlphabetEvenly(t *testing.T) {
	var all []byte
	for b := range 256 {
		all = append(all, byte(b))
	}
	random, count := bytes.NewReader(all), map[rune]int{}
	for range 256 / codeLength {
		for _, r := range strings.TrimPrefix(NewText(random), keyword+" ") {
			count[r]++
		}
	}
	for _, r := range alphabet {
		if count[r] != 8 {
			t.Errorf("%c came %d times in 256 bytes, want 8", r, count[r])
		}
	}
}

func TestNewTextNeverGivesAGuessableText(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a broken source of randomness gave a text")
		}
	}()
	NewText(brokenReader{})
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("broken") }

func FuzzTexts(f *testing.F) {
	for _, body := range []string{
		"VOTE AB0D1234", "ＶＯＴＥ　ＡＢ０Ｄ１２３４", "vote ab-0d 12 34 thanks", "請VOTEAB0D1234", "\xff\xfe", "VOTE VOTE VOTE1234",
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		texts := Texts(body)
		if len(texts) > maxCandidates {
			t.Fatalf("%d candidates", len(texts))
		}
		for _, text := range texts {
			code, ok := strings.CutPrefix(text, keyword+" ")
			if !ok || len(code) != codeLength || strings.Trim(code, alphabet) != "" {
				t.Fatalf("%q is not a one-time text", text)
			}
			if again := Texts(text); len(again) == 0 || again[0] != text {
				t.Fatalf("Texts(%q) = %q: not its own best candidate", text, again)
			}
		}
	})
}

package server

import (
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

// TestACodeIsBoundToThePage by the last line of its SMS, in the origin-bound form that browsers know; the SMS has
// no link, and in every language it is one SMS.
func TestACodeIsBoundToThePage(t *testing.T) {
	for lang := range codeTexts {
		text := codeText(lang, "012345", "vote.example.hk", time.Hour)
		if !strings.HasSuffix(text, "\n@vote.example.hk #012345") || strings.Contains(text, "://") {
			t.Errorf("%s: %q", lang, text)
		}
		room := 70 // UTF-16
		if lang == "en" {
			room = 160 // GSM 03.38, which holds all of ASCII that is used here
		}
		if used := len(utf16.Encode([]rune(text))); used > room {
			t.Errorf("%s: %d characters, and one SMS has %d", lang, used, room)
		}
	}
	if text := codeText("en", "012345", "", time.Minute); strings.Contains(text, "@") {
		t.Errorf("without a host: %q", text)
	}
}

package plain

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// The words and the looks are the voter's page's own; npm run generate writes both.
//
//go:embed words.gen.json
var wordsJSON []byte

// catalogues are the words by language and key.
var catalogues = func() map[string]words {
	var all map[string]words
	if err := json.Unmarshal(wordsJSON, &all); err != nil {
		panic("plain: words.gen.json is not what was generated: " + err.Error()) // embedded: the same in every run
	}
	return all
}()

// languages in the order they are offered, by their own names.
var languages = []struct{ Tag, Name string }{{"zh-Hant-HK", "繁體中文"}, {"zh-Hans", "简体中文"}, {"en", "English"}}

// words are one language's.
type words map[string]string

// say returns the words of a key, with what is given in the places {0} and {1}.
func (w words) say(key string, given ...any) string {
	text, ok := w[key]
	if !ok {
		panic("plain: no words for " + key) // the tests draw every page in every language
	}
	for i, one := range given {
		text = strings.ReplaceAll(text, "{"+strconv.Itoa(i)+"}", fmt.Sprint(one))
	}
	return text
}

// list returns the words of key.0, key.1 and so on.
func (w words) list(key string, given ...any) []string {
	var out []string
	for i := 0; ; i++ {
		at := key + "." + strconv.Itoa(i)
		if _, ok := w[at]; !ok {
			return out
		}
		out = append(out, w.say(at, given...))
	}
}

// span is a time in minutes and seconds.
func (w words) span(seconds int) string {
	form := func(n int) string {
		switch n {
		case 0, 1:
			return strconv.Itoa(n)
		}
		return "n"
	}
	minutes, rest := seconds/60, seconds%60
	key := "span." + form(minutes) + "." + form(rest)
	if minutes == 0 && rest == 0 {
		key = "span.0.n"
	}
	return w.say(key, minutes, rest)
}

// counted is the form of a key for a number: some languages have a word for one.
func (w words) counted(key string, n int) string {
	if n == 1 {
		return w.say(key + ".1")
	}
	return w.say(key+".n", n)
}

// trouble is what happened and what to do now, of a problem's code.
func (w words) trouble(code string) (what, now string) {
	key := "trouble." + code
	if _, ok := w[key+".0"]; !ok {
		key = "trouble.internal"
	}
	return w.say(key + ".0"), w.say(key + ".1")
}

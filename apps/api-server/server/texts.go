package server

import (
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf16"
)

// codeTexts are the SMS by language, the longer first; %s is the code, %d the minutes it is good for. With the
// origin-bound line the first fits one segment where the host has up to 29 characters in Chinese, the second up
// to 36: two segments cost twice as much, and a part that is lost loses the code.
var codeTexts = map[string][]string{
	"zh-Hant-HK": {"【投票】驗證碼 %s，%d 分鐘內有效，切勿轉告他人。", "【投票】驗證碼 %s，%d 分鐘內有效。"},
	"zh-Hans":    {"【投票】验证码 %s，%d 分钟内有效，切勿转告他人。", "【投票】验证码 %s，%d 分钟内有效。"},
	"en":         {"%s is your voting code, valid for %d min. Do not share it."},
}

// codeText is the SMS with a code. Its last line binds the code to the page's host, so that browsers
// offer it there and nowhere else.
func codeText(lang, code, host string, ttl time.Duration) (text string) {
	forms, ok := codeTexts[lang]
	if !ok {
		forms = codeTexts["en"]
	}
	for _, form := range forms {
		text = fmt.Sprintf(form, code, max(1, int(ttl/time.Minute)))
		if host != "" {
			text += "\n@" + host + " #" + code
		}
		if oneSegment(text) {
			break
		}
	}
	return text
}

// spokenTexts are what a call says by language, %s for the code: line by line, with pauses. What stands behind each
// digit ends a sentence, or a voice would read one number, faster than anybody writes.
var spokenTexts = map[string]struct{ form, stop string }{
	"zh-Hant-HK": {"你的投票驗證碼是：\n%s\n再說一次：\n%s\n請勿轉告他人。", "。"},
	"zh-Hans":    {"您的投票验证码是：\n%s\n再说一遍：\n%s\n请勿转告他人。", "。"},
	"en":         {"Your voting code is:\n%s\nOnce more:\n%s\nDo not share it.", ". "},
}

// spokenText is what a call says: the code, slowly and twice.
func spokenText(lang, code string) string {
	in, ok := spokenTexts[lang]
	if !ok {
		in = spokenTexts["en"]
	}
	digits := strings.TrimSpace(strings.Join(strings.Split(code, ""), in.stop) + in.stop)
	return fmt.Sprintf(in.form, digits, digits)
}

// oneSegment says whether a text is one SMS: 160 characters of GSM 7-bit (3GPP TS 23.038, of which only what
// is ASCII too, and in one septet, is looked for), else 70 UTF-16 units.
func oneSegment(text string) bool {
	for _, r := range text {
		if r > 0x7e || strings.ContainsRune("`[]{}\\^~|", r) {
			return len(utf16.Encode([]rune(text))) <= 70
		}
	}
	return len(text) <= 160
}

// smsLink is an sms: URI (RFC 5724) that opens a phone's messages with number and text filled in.
func smsLink(number, text string) string {
	return "sms:" + number + "?body=" + url.PathEscape(text)
}

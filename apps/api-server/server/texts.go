package server

import (
	"fmt"
	"net/url"
	"time"
)

// codeTexts are the SMS by language; %s is the code, %d the minutes it is good for. In Chinese one
// SMS has room for 70 characters, the origin-bound line included.
var codeTexts = map[string]string{
	"zh-Hant-HK": "【投票】驗證碼 %s，%d 分鐘內有效，切勿轉告他人。",
	"zh-Hans":    "【投票】验证码 %s，%d 分钟内有效，切勿转告他人。",
	"en":         "%s is your voting code, valid for %d min. Do not share it.",
}

// codeText is the SMS with a code. Its last line binds the code to the page's host, so that browsers
// offer it there and nowhere else.
func codeText(lang, code, host string, ttl time.Duration) string {
	form, ok := codeTexts[lang]
	if !ok {
		form = codeTexts["en"]
	}
	text := fmt.Sprintf(form, code, max(1, int(ttl/time.Minute)))
	if host != "" {
		text += "\n@" + host + " #" + code
	}
	return text
}

// smsLink is an sms: URI (RFC 5724) that opens a phone's messages with number and text filled in.
func smsLink(number, text string) string {
	return "sms:" + number + "?body=" + url.PathEscape(text)
}

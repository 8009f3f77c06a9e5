// Command kindsdoc writes docs/sms-kinds.md from the providers' own configurations.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"reflect"

	"github.com/popvote/popvote/apps/sms-gateway/provider/aws"
	"github.com/popvote/popvote/apps/sms-gateway/provider/smpp"
	"github.com/popvote/popvote/apps/sms-gateway/provider/twilio"
	"github.com/popvote/popvote/apps/sms-gateway/provider/vonage"
	"github.com/popvote/popvote/apps/sms-gateway/provider/webhook"
)

const head = `# Kinds of SMS routes

<!-- Written by go generate in apps/sms-gateway from the providers' configurations; change those, not this page. -->

What stands below ` + "`config:`" + ` of a route in [the table](sms.md), by the route's kind. Secrets are in files, of
mode 0600 and read anew whenever they are used; Nomad writes them from Vault.
`

var kinds = []struct {
	name, what string
	config     any
}{
	{"smpp", "SMPP 3.4, to a network's own SMSC, both ways. It keeps its connections, and `-hooks-listen` is not needed for it.", smpp.Config{}},
	{"twilio", "Twilio's Programmable Messaging, both ways.", twilio.Config{}},
	{"vonage", "Vonage's Messages API, both ways.", vonage.Config{}},
	{"aws", "AWS End User Messaging SMS; receipts and voters' messages come by SNS.", aws.Config{}},
	{"webhook", "Any gateway that speaks HTTP, such as Kannel's. Words are `{to}`, `{to-digits}`, `{from}`, `{text}`, `{id}`, `{lang}`, " +
		"`{secret}`, `{call-password}`, `{ttl-seconds}` and `{ttl-minutes}`, and for texts that GSM's alphabet lacks `{coding}` (2, else 0) and " +
		"`{data-coding}` (8, else 0). Its calls to us are [Standard Webhooks](https://www.standardwebhooks.com/), or where it can't sign " +
		"[plain ones](sms.md#gateways-that-cannot-sign).", webhook.Config{}},
}

func main() {
	out := flag.String("o", "docs/sms-kinds.md", "where to write the page")
	flag.Parse()
	page := bytes.NewBufferString(head)
	for _, kind := range kinds {
		fmt.Fprintf(page, "\n## `%s`\n\n%s\n\n| key | |\n|---|---|\n", kind.name, kind.what)
		of := reflect.TypeOf(kind.config)
		for i := range of.NumField() {
			tag := of.Field(i).Tag
			fmt.Fprintf(page, "| `%s` | %s |\n", tag.Get("koanf"), tag.Get("doc"))
		}
	}
	if err := os.WriteFile(*out, page.Bytes(), 0o644); err != nil { //nolint:gosec // a page for everybody
		fmt.Fprintln(os.Stderr, "couldn't write the page:", err)
		os.Exit(1)
	}
}

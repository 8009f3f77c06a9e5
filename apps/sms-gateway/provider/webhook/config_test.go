package webhook

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/popvote/popvote/libs/service"
)

// recipe is how Kannel is asked, as an operator writes it.
const recipe = `
url: http://10.1.2.3:13013/cgi-bin/sendsms
allow-networks: [10.1.2.0/24]
from: PopVote
secret-file: SECRET
headers:
  Content-Type: text/plain; charset=UTF-8
  X-Kannel-Username: popvote
  X-Kannel-Password: "{secret}"
  X-Kannel-To: "{to}"
  X-Kannel-From: "{from}"
  X-Kannel-Coding: "2"
  X-Kannel-Charset: UTF-8
  X-Kannel-Validity: "{ttl-minutes}"
body: "{text}"
success-pattern: "^(?:0: Accepted for delivery|3: Queued for later delivery)"
blocked-pattern: denied
unavailable-pattern: ^Temporal failure
`

func TestItIsReadFromAFile(t *testing.T) {
	c := kannel(t)
	service.Flags(flag.NewFlagSet("", flag.ContinueOnError), &c) // it has a key and a word of help for each
	if len(c.Headers) != 8 || c.Headers["X-Kannel-Password"] != "{secret}" || c.SecretFile == "" || c.Body != "{text}" {
		t.Errorf("%+v", c)
	}
	path := filepath.Join(t.TempDir(), "misspelt.yaml")
	if err := os.WriteFile(path, []byte(strings.Replace(recipe, "blocked-pattern", "block-pattern", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := service.LoadConfig(&c, service.Sources{File: path}); err == nil || !strings.Contains(err.Error(), "block-pattern") {
		t.Errorf("a key that is none: %v", err)
	}
}

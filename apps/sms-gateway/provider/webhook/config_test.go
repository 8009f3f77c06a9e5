package webhook

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/popvote/popvote/apps/sms-gateway/provider/wire/wiretest"
	"github.com/popvote/popvote/libs/service"
)

// recipe is how Kannel is asked, as docs/sms.md tells operators, with files of the test's own in place of those
// there.
func recipe(t testing.TB) string {
	t.Helper()
	page, err := os.ReadFile("../../../../docs/sms.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(page), "## Gateways that cannot sign")
	_, after, _ = strings.Cut(after, "```yaml\n")
	text, _, found := strings.Cut(after, "```")
	if !found {
		t.Fatal("docs/sms.md shows no Kannel")
	}
	return strings.NewReplacer(
		"[/secrets/kannel-calls]", "["+wiretest.Secret(t, callPassword)+"]", "/secrets/kannel", wiretest.Secret(t, "hunter2"),
	).Replace(text)
}

func TestItIsReadFromAFile(t *testing.T) {
	c := kannel(t)
	service.Flags(flag.NewFlagSet("", flag.ContinueOnError), &c) // it has a key and a word of help for each
	if len(c.Headers) != 10 || c.Headers["X-Kannel-Password"] != "{secret}" || c.SecretFile == "" || c.Body != "{text}" {
		t.Errorf("%+v", c)
	}
	path := filepath.Join(t.TempDir(), "misspelt.yaml")
	if err := os.WriteFile(path, []byte(strings.Replace(recipe(t), "blocked-pattern", "block-pattern", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := service.LoadConfig(&c, service.Sources{File: path}); err == nil || !strings.Contains(err.Error(), "block-pattern") {
		t.Errorf("a key that is none: %v", err)
	}
}

package apart

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/popvote/popvote/libs/poll"
)

// Operator is somebody logged in to the control panel, who gives orders as its page does.
type Operator struct {
	t      *testing.T
	origin string
	client *http.Client
}

var link = regexp.MustCompile(`(http://\S+)/#login=(\S+)`)

// LogIn uses the log-in link that the panel printed.
func LogIn(t *testing.T, panel *Program) *Operator {
	t.Helper()
	// It is printed once the panel listens, which is all that Start waited for.
	found := link.FindStringSubmatch(panel.Printed())
	for deadline := time.Now().Add(Patience); found == nil && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		found = link.FindStringSubmatch(panel.Printed())
	}
	if found == nil {
		t.Fatal("the panel printed no log-in link")
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	o := &Operator{t: t, origin: found[1], client: &http.Client{Jar: jar, Timeout: Patience}}
	t.Cleanup(o.client.CloseIdleConnections)
	o.post("/api/login", map[string]any{"token": found[2]})
	return o
}

// Apply makes a draft of a definition, as the page's form does.
func (o *Operator) Apply(d *poll.Definition) {
	o.t.Helper()
	o.post("/api/drafts", map[string]any{"definition": d, "reason": "test"})
}

// Move closes or publishes a poll, or whatever the verb says.
func (o *Operator) Move(poll, verb string) {
	o.t.Helper()
	o.post("/api/polls/"+poll+"/"+verb, map[string]any{"confirm": poll, "reason": "test"})
}

// Count counts a closed poll with share files.
func (o *Operator) Count(poll string, shares ...string) {
	o.t.Helper()
	texts := make([]string, len(shares))
	for i, path := range shares {
		content, err := os.ReadFile(path)
		if err != nil {
			o.t.Fatal(err)
		}
		texts[i] = string(content)
	}
	o.post("/api/polls/"+poll+"/count", map[string]any{"confirm": poll, "reason": "test", "shares": texts})
}

// Bundle fetches a published poll's bundle, and returns the path of its file.
func (o *Operator) Bundle(poll string) string {
	o.t.Helper()
	response, err := o.client.Get(o.origin + "/api/polls/" + poll + "/bundle.zip")
	if err != nil {
		o.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		o.t.Fatalf("the bundle: %d %v", response.StatusCode, err)
	}
	path := filepath.Join(o.t.TempDir(), poll+".zip")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		o.t.Fatal(err)
	}
	return path
}

func (o *Operator) post(path string, body any) {
	o.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		o.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(o.t.Context(), http.MethodPost, o.origin+path, bytes.NewReader(text))
	if err != nil {
		o.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := o.client.Do(request)
	if err != nil {
		o.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if answer, err := io.ReadAll(response.Body); err != nil || response.StatusCode/100 != 2 {
		o.t.Fatalf("POST %s: %d %s %v", path, response.StatusCode, answer, err)
	}
}

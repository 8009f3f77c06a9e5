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
	"github.com/popvote/popvote/libs/problem"
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

// Total is how many ballots the panel shows.
func (o *Operator) Total(poll string) int64 {
	o.t.Helper()
	var stats struct {
		Total int64 `json:"total"`
	}
	if err := json.Unmarshal(o.ask(http.MethodGet, "/api/polls/"+poll+"/stats", nil), &stats); err != nil {
		o.t.Fatal(err)
	}
	return stats.Total
}

func (o *Operator) post(path string, body any) {
	o.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		o.t.Fatal(err)
	}
	o.ask(http.MethodPost, path, text)
}

// ask asks until the panel reaches a ballot server, which it avoids for a while when it was away.
func (o *Operator) ask(method, path string, body []byte) []byte {
	o.t.Helper()
	for deadline := time.Now().Add(Patience); ; time.Sleep(100 * time.Millisecond) {
		request, err := http.NewRequestWithContext(o.t.Context(), method, o.origin+path, bytes.NewReader(body))
		if err != nil {
			o.t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := o.client.Do(request)
		if err != nil {
			o.t.Fatal(err)
		}
		answer, err := io.ReadAll(response.Body)
		_ = response.Body.Close() // only read
		if err != nil {
			o.t.Fatal(err)
		}
		if response.StatusCode/100 == 2 {
			return answer
		}
		var why struct{ Code string }
		if json.Unmarshal(answer, &why) != nil || why.Code != string(problem.Unavailable) || time.Now().After(deadline) {
			o.t.Fatalf("%s %s: %d %s", method, path, response.StatusCode, answer)
		}
	}
}

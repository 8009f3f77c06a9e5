package server_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/popvote/popvote/apps/control-panel/clouds"
	"github.com/popvote/popvote/apps/control-panel/server"
)

// sky is three clouds that do what they are told, or say err. The real ones are tested where they are.
type sky struct {
	mu   sync.Mutex
	err  error
	told []string
}

func (s *sky) tell(words ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, strings.Join(words, " "))
	return s.err
}

func (s *sky) Map() *clouds.Map { return &clouds.Map{Clouds: []clouds.Cloud{{Name: "cloud-a"}}} }

func (s *sky) Drain(_ context.Context, cloud string, by clouds.Change) error {
	return s.tell("drain", cloud, by.By, by.Why)
}

func (s *sky) Undrain(_ context.Context, cloud string, by clouds.Change) error {
	return s.tell("undrain", cloud, by.By, by.Why)
}

func (s *sky) Promote(_ context.Context, job, deployment string) error {
	return s.tell("promote", job, deployment)
}

func (s *sky) Fail(_ context.Context, job, deployment string) error {
	return s.tell("fail", job, deployment)
}

func (s *sky) Scale(_ context.Context, job, group string, from, to int, by clouds.Change) error {
	return s.tell("scale", job, group, strings.Repeat("|", from), strings.Repeat("|", to), by.Why)
}

func (s *sky) MoveOne(_ context.Context, job, group, from string) error {
	return s.tell("move", job, group, from)
}

func under(t *testing.T, s *sky, drills string) *panel {
	return newPanelWith(t, func(c *server.Config, d *server.Deps) {
		c.Drills = drills
		if s != nil {
			d.Clouds = s
		}
	})
}

func TestWithoutCloudsThereAreNone(t *testing.T) {
	p := newPanel(t).logIn()
	if body := p.want(p.get("/api/session"), http.StatusOK, ""); body["clouds"] != false || body["drills"] != false {
		t.Errorf("%v", body)
	}
	p.want(p.post("/api/clouds/cloud-a/drain", decision("cloud-a")), http.StatusNotFound, "not-found")
	p.want(p.get("/api/drills"), http.StatusNotFound, "not-found")
}

func TestCloudsAreChangedByWhoSaysWhy(t *testing.T) {
	s := new(sky)
	p := under(t, s, "")
	p.want(p.post("/api/clouds/cloud-a/drain", decision("cloud-a")), http.StatusUnauthorized, "log-in-needed")
	p.logIn()
	p.want(p.post("/api/clouds/cloud-a/drain", decision("cloud-b")), http.StatusUnprocessableEntity, "name-wrong")
	p.want(p.post("/api/clouds/cloud-a/drain", map[string]any{"confirm": "cloud-a"}), http.StatusUnprocessableEntity, "reason-missing")
	if len(s.told) != 0 {
		t.Errorf("it was told %q", s.told)
	}
	actor := p.want(p.get("/api/session"), http.StatusOK, "")["actor"].(string)
	const why = "because the test says so"
	for _, c := range []struct {
		path, name, told string
		more             map[string]any
	}{
		{"/api/clouds/cloud-a/drain", "cloud-a", "drain cloud-a " + actor + " " + why, nil},
		{"/api/clouds/cloud-a/undrain", "cloud-a", "undrain cloud-a " + actor + " " + why, nil},
		{"/api/jobs/api-server/promote", "api-server", "promote api-server d1", map[string]any{"deployment": "d1"}},
		{"/api/jobs/api-server/fail", "api-server", "fail api-server d1", map[string]any{"deployment": "d1"}},
		{"/api/jobs/api-server/scale", "api-server", "scale api-server web ||| |||| " + why, map[string]any{"group": "web", "from": 3, "to": 4}},
		{"/api/jobs/api-server/move", "api-server", "move api-server web cloud-b", map[string]any{"group": "web", "cloud": "cloud-b"}},
	} {
		body := decision(c.name)
		for k, v := range c.more {
			body[k] = v
		}
		done := p.want(p.post(c.path, body), http.StatusOK, "")["deed"].(map[string]any)
		if got := s.told[len(s.told)-1]; got != c.told || done["actor"] != actor || done["to"] != c.name || done["reason"] != why {
			t.Errorf("%s: told %q, done %v", c.path, got, done)
		}
	}
	if n := strings.Count(p.log.String(), `msg="clouds changed"`); n != 6 || !strings.Contains(p.log.String(), `what=scale to=api-server detail="web 3 → 4" reason="`+why+`" actor=`+actor) {
		t.Errorf("the log has %d lines:\n%s", n, p.log)
	}
	events := p.listen("/api/live")
	picture := events.must("clouds", func(map[string]any) bool { return true })
	if all := picture["deeds"].([]any); len(all) != 6 || all[0].(map[string]any)["what"] != "move" {
		t.Errorf("others see %v", all)
	}
}

func TestWhatIsNotDoneSaysWhy(t *testing.T) {
	s := new(sky)
	p := under(t, s, "").logIn()
	for _, c := range []struct {
		err    error
		status int
		code   string
		effect string
	}{
		{clouds.OtherCloudAway, http.StatusConflict, "cloud-other-away", "not_applied"},
		{clouds.CanaryWaits, http.StatusConflict, "cloud-canary-waits", "not_applied"},
		{clouds.NotThere, http.StatusNotFound, "cloud-not-there", "not_applied"},
		{clouds.OutOfBounds, http.StatusUnprocessableEntity, "cloud-out-of-bounds", "not_applied"},
		{&clouds.Unanswered{}, http.StatusServiceUnavailable, "nomad-unavailable", "not_applied"},
		{&clouds.Unanswered{Begun: true}, http.StatusServiceUnavailable, "nomad-unknown", "unknown"},
		{errors.New("on fire"), http.StatusInternalServerError, "internal", "unknown"},
	} {
		s.err = c.err
		if body := p.want(p.post("/api/clouds/cloud-a/drain", decision("cloud-a")), c.status, c.code); body["effect"] != c.effect {
			t.Errorf("%v: %v", c.err, body)
		}
	}
	if strings.Contains(p.log.String(), `msg="clouds changed"`) {
		t.Error("the log says that it was done")
	}
}

func TestDrillsAreShownAsTheyWereWritten(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "report.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	written, err := os.ReadFile("testdata/report.json")
	if err != nil {
		t.Fatal(err)
	}
	write("2026-11-23T125442", string(written))
	write("2026-11-24T080000", `[{"name": "kill-leaders", "wrong": ["one vote is lost"]}, {"name": "kill-other", "wrong": []}]`)
	write("2026-11-24T090000", `[{"name": "kill-lea`) // being written
	write("notes", `[]`)
	p := under(t, nil, dir).logIn()
	runs := p.want(p.get("/api/drills"), http.StatusOK, "")["runs"].([]any)
	if len(runs) != 2 {
		t.Fatalf("%v", runs)
	}
	if newest := runs[0].(map[string]any); newest["name"] != "2026-11-24T080000" || newest["at"] != "2026-11-24T08:00:00Z" || newest["drills"] != 2.0 || newest["failed"] != 1.0 {
		t.Errorf("%v", newest)
	}
	report := p.want(p.get("/api/drills/2026-11-23T125442"), http.StatusOK, "")["reports"].([]any)[0].(map[string]any)
	if report["name"] != "freeze-leaders" || report["acknowledged"] != 22558.0 || report["gap_seconds"].(float64) < 16 || len(report["events"].([]any)) != 17 || len(report["per_second"].([]any)) != 89 {
		t.Errorf("%v", report)
	}
	for _, name := range []string{"notes", "..", "2026-11-25T000000", "%2e%2e"} {
		if answer := p.get("/api/drills/" + name); answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", name, answer.StatusCode)
		}
	}
	p.want(p.get("/api/drills/2026-11-24T090000"), http.StatusInternalServerError, "internal")
}

func TestNoDrillYet(t *testing.T) {
	p := under(t, nil, filepath.Join(t.TempDir(), "none")).logIn()
	if runs := p.want(p.get("/api/drills"), http.StatusOK, "")["runs"].([]any); len(runs) != 0 {
		t.Errorf("%v", runs)
	}
}

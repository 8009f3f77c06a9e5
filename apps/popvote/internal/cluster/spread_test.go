//go:build linux

package cluster

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

var evenly = Spread{
	"api-server":    {"cloud-a": 1, "cloud-b": 1, "cloud-c": 1},
	"control-panel": {"cloud-b": 1},
}

// Work counts as replaced when the other clouds have as many copies of every job as all had.
func TestReplaced(t *testing.T) {
	for name, test := range map[string]struct {
		now  Spread
		want bool
	}{
		"nothing was":        {evenly, false},
		"one job was":        {Spread{"api-server": {"cloud-b": 1, "cloud-c": 1}, "control-panel": {"cloud-c": 1}}, false},
		"all were":           {Spread{"api-server": {"cloud-b": 2, "cloud-c": 1}, "control-panel": {"cloud-b": 1}}, true},
		"one too many there": {Spread{"api-server": {"cloud-a": 2, "cloud-c": 1}, "control-panel": {"cloud-b": 1}}, false},
		"nobody knows":       {Spread{}, false},
	} {
		if got := test.now.Without("cloud-a", evenly); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestUneven(t *testing.T) {
	clouds := []string{"cloud-a", "cloud-b", "cloud-c"}
	if got := evenly.Uneven(clouds); got != nil {
		t.Errorf("uneven: %s", got)
	}
	skewed := Spread{
		"api-server": {"cloud-b": 2, "cloud-c": 1}, "ballot-server": {"cloud-a": 2, "cloud-b": 1, "cloud-c": 1}, "sms-gateway": {"cloud-a": 3, "cloud-b": 1, "cloud-c": 1},
	}
	if got := skewed.Uneven(clouds); !slices.Equal(got, []string{"api-server", "sms-gateway"}) {
		t.Errorf("uneven: %s", got)
	}
	if got := evenly.String(); got != "api-server: cloud-a 1, cloud-b 1, cloud-c 1; control-panel: cloud-b 1" {
		t.Errorf("it says %q", got)
	}
}

// A canary is one until it is promoted or given up; a first deployment has none.
func TestCanary(t *testing.T) {
	for text, want := range map[string][2]bool{ // a canary, healthy
		`{"Status": "running", "TaskGroups": {"api-server": {"DesiredCanaries": 1, "HealthyAllocs": 0}}}`:                    {true, false},
		`{"Status": "running", "TaskGroups": {"api-server": {"DesiredCanaries": 1, "HealthyAllocs": 1}}}`:                    {true, true},
		`{"Status": "running", "TaskGroups": {"api-server": {"DesiredCanaries": 1, "HealthyAllocs": 2, "Promoted": true}}}`:  {false, true},
		`{"Status": "successful", "TaskGroups": {"api-server": {"DesiredCanaries": 1, "HealthyAllocs": 3}}}`:                 {false, true},
		`{"Status": "running", "TaskGroups": {"api-server": {"DesiredCanaries": 0, "HealthyAllocs": 1, "Promoted": false}}}`: {false, true},
	} {
		var d deployment
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			t.Fatal(err)
		}
		if got := [2]bool{d.canary(), d.healthy()}; got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// An edge's figures say which API servers it sends to: neither those that are down, nor other backends' servers.
func TestServersUp(t *testing.T) {
	up, err := serversUp(strings.NewReader(`# HELP haproxy_server_status Current status of the service
# TYPE haproxy_server_status gauge
haproxy_server_status{proxy="api-server",server="one",state="DOWN"} 0
haproxy_server_status{proxy="api-server",server="one",state="UP"} 1
haproxy_server_status{proxy="api-server",server="two",state="DOWN"} 1
haproxy_server_status{proxy="api-server",server="two",state="UP"} 0
haproxy_server_status{proxy="other",server="three",state="UP"} 1
haproxy_server_weight{proxy="api-server",server="two"} 1
`))
	if err != nil || len(up) != 1 || !up["one"] {
		t.Errorf("%v, %v", up, err)
	}
}

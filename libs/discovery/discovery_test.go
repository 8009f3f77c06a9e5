package discovery

import (
	"strings"
	"testing"
)

func TestFindsWhatItWasGivenAndNothingElse(t *testing.T) {
	given := map[string][]Instance{"ballot-server": {{Address: "127.0.0.1:9001", Cloud: "a"}, {Address: "[::1]:9001", Cloud: "b"}}}
	s, err := NewStatic(given)
	if err != nil {
		t.Fatal(err)
	}
	found := s.Find("ballot-server")
	if len(found) != 2 || found[0] != given["ballot-server"][0] || found[1] != given["ballot-server"][1] {
		t.Errorf("found %v", found)
	}
	if found := s.Find("api-server"); len(found) != 0 {
		t.Errorf("found %v for a service that was not given", found)
	}
}

func TestCallersCannotChangeEachOthersSet(t *testing.T) {
	given := map[string][]Instance{"redis": {{Address: "127.0.0.1:6379"}}}
	s, err := NewStatic(given)
	if err != nil {
		t.Fatal(err)
	}
	given["redis"][0].Address = "changed by the one who gave it"
	s.Find("redis")[0].Address = "changed by the one who asked"
	if got := s.Find("redis")[0].Address; got != "127.0.0.1:6379" {
		t.Errorf("the address became %q", got)
	}
}

func TestRefusesWhatCannotBeAnAddress(t *testing.T) {
	for _, c := range []struct {
		why       string
		instances []Instance
	}{
		{"host:port", []Instance{{Address: "127.0.0.1"}}},
		{"host:port", []Instance{{Address: ":80"}}},
		{"host:port", []Instance{{Address: "localhost:"}}},
		{"host:port", []Instance{{}}},
		{"twice", []Instance{{Address: "a:1"}, {Address: "a:1", Cloud: "b"}}},
	} {
		_, err := NewStatic(map[string][]Instance{"redis": c.instances})
		if err == nil || !strings.Contains(err.Error(), c.why) || !strings.Contains(err.Error(), "redis") {
			t.Errorf("%v: got %v, want an error with the service and %q", c.instances, err, c.why)
		}
	}
}

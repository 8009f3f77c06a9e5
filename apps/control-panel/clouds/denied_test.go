//go:build linux

package clouds_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// denied shows that the policy is no wider than it has to be: each of its capabilities is missed when it isn't there,
// and what the panel has no use for is refused. The ids are of a deployment and a copy that are there.
func (s *site) denied(deployment, copied string) {
	s.Helper()
	const in = "?namespace=popvote"
	needed := map[string][][3]string{
		"list-jobs":          {{"GET", "/v1/jobs" + in, ""}},
		"read-job":           {{"GET", "/v1/job/api-server" + in, ""}, {"GET", "/v1/allocations" + in, ""}, {"GET", "/v1/deployments" + in, ""}},
		"promote-deployment": {{"PUT", "/v1/deployment/promote/" + deployment, `{"DeploymentID": "` + deployment + `", "All": true}`}},
		"fail-deployment":    {{"PUT", "/v1/deployment/fail/" + deployment, ""}},
		"scale-job":          {{"PUT", "/v1/job/api-server/scale" + in, `{"Count": 7, "Target": {"Group": "api-server"}}`}},
		"alloc-lifecycle":    {{"PUT", "/v1/allocation/" + copied + "/stop", ""}},
		"node":               {{"GET", "/v1/nodes", ""}, {"GET", "/v1/agent/members", ""}},
	}
	for capability, questions := range needed {
		s.policy(capability)
		for _, q := range questions {
			if answer := s.ask(q[0], q[1], q[2]); answer != "Permission denied" {
				s.Errorf("without %s: %s %s: %s", capability, q[0], q[1], answer)
			}
		}
	}
	s.policy("")
	submit := `{"Job": {"ID": "api-server", "Namespace": "popvote", "Datacenters": ["*"], "TaskGroups": [{"Name": "x", "Tasks": [{"Name": "x", "Driver": "raw_exec", "Config": {"command": "true"}}]}]}}`
	for _, q := range [][3]string{
		{"PUT", "/v1/jobs" + in, submit},
		{"PUT", "/v1/job/api-server/plan" + in, submit},
		{"DELETE", "/v1/job/api-server" + in, ""},
		{"PUT", "/v1/job/api-server/revert" + in, `{"JobID": "api-server", "JobVersion": 0}`},
		{"PUT", "/v1/job/api-server/evaluate" + in, `{"JobID": "api-server"}`},
		{"PUT", "/v1/job/api-server/stable" + in, `{"JobID": "api-server", "JobVersion": 0, "Stable": true}`},
		{"PUT", "/v1/job/api-server/dispatch" + in, `{"JobID": "api-server"}`},
		{"PUT", "/v1/deployment/pause/" + deployment, `{"DeploymentID": "` + deployment + `", "Pause": true}`},
		{"PUT", "/v1/deployment/allocation-health/" + deployment, `{"DeploymentID": "` + deployment + `", "HealthyAllocationIDs": ["` + copied + `"]}`},
		{"GET", "/v1/client/fs/ls/" + copied + "?path=/", ""},
		{"GET", "/v1/client/fs/logs/" + copied + "?task=api-server&type=stdout&plain=true", ""},
		{"GET", "/v1/jobs?namespace=default", ""},
		{"PUT", "/v1/namespace/other", `{"Name": "other"}`},
		{"PUT", "/v1/var/popvote" + in, `{"Namespace": "popvote", "Path": "popvote", "Items": {"a": "b"}}`},
		{"GET", "/v1/var/popvote" + in, ""},
		{"GET", "/v1/acl/tokens", ""},
		{"GET", "/v1/acl/policy/deployer", ""},
		{"GET", "/v1/agent/self", ""},
		{"GET", "/v1/operator/raft/configuration", ""},
		{"PUT", "/v1/operator/scheduler/configuration", `{"SchedulerAlgorithm": "binpack"}`},
		{"GET", "/v1/operator/snapshot", ""},
		{"PUT", "/v1/system/gc", ""},
	} {
		if answer := s.ask(q[0], q[1], q[2]); answer != "Permission denied" {
			s.Errorf("it may %s %s: %s", q[0], q[1], answer)
		}
	}
}

// ask asks as the panel's task does, by its socket and its token.
func (s *site) ask(method, path, body string) string {
	s.Helper()
	panel := s.running("control-panel", 1)[0]
	secrets := s.nomad.Secrets(panel.NodeName, panel.ID, "control-panel")
	token, err := os.ReadFile(filepath.Join(secrets, "nomad_token"))
	if err != nil {
		s.Fatal(err)
	}
	request, err := http.NewRequestWithContext(s.Context(), method, "http://task"+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+string(bytes.TrimSpace(token)))
	response, err := (&http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(secrets, "api.sock"))
	}}).RoundTrip(request)
	if err != nil {
		s.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // only read
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		s.Fatal(err)
	}
	// The status isn't always 403.
	return string(answer)
}

package smoke

import (
	"errors"
	"testing"
)

// A service whose check passes is found by whoever waits for it.
func TestConsul(t *testing.T) {
	free := ports(t, 4)
	consul := start(t, "127.0.0.1:"+free[0], "consul", "agent", "-server", "-bootstrap-expect=1", "-node=smoke",
		"-bind=127.0.0.1", "-client=127.0.0.1", "-data-dir="+t.TempDir(), "-disable-host-node-id", "-log-level=warn",
		"-http-port="+free[0], "-server-port="+free[1], "-serf-lan-port="+free[2], "-serf-wan-port="+free[3],
		"-dns-port=-1", "-grpc-port=-1", "-grpc-tls-port=-1",
		"-hcl=disable_update_check = true", "-hcl=performance { raft_multiplier = 1 }")
	consul.leader()

	consul.must("PUT", "/v1/agent/service/register", map[string]any{
		"Name": "api-server", "Port": 8080, "Tags": []string{"canary"},
		"Check": map[string]any{"TTL": "1m", "Status": "passing"},
	}, nil)
	consul.await("service passing", func() error {
		var found []struct{ Service struct{ Port int } }
		err := consul.ask("GET", "/v1/health/service/api-server?passing", nil, &found)
		if err == nil && (len(found) != 1 || found[0].Service.Port != 8080) {
			err = errors.New("it is not in the catalogue")
		}
		return err
	})
}

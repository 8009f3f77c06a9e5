# Every machine's agent. What differs between machines is in node.hcl, what is secret in secret.hcl; popvote-node makes
# both at each start.
data_dir    = "/var/lib/consul"
client_addr = "127.0.0.1"

# One datacenter over all clouds: two of three hold the quorum, wherever the third went.
datacenter = "popvote"

disable_update_check       = true
enable_local_script_checks = false
# A machine that stops comes back as who it was: leaving would shrink the quorum.
leave_on_terminate = false
rejoin_after_leave = true

ports {
  grpc     = -1
  grpc_tls = -1
}

# Clouds near each other, not one room: the default elects anew at every hiccup between them.
performance {
  raft_multiplier = 5
}

limits {
  # Each watch of each process is a connection from 127.0.0.1; the default is 200.
  http_max_conns_per_client = 1000
  # A server that stands still must not hold a caller for a minute.
  rpc_client_timeout = "10s"
}

acl {
  enabled        = true
  default_policy = "deny"
  # What was allowed when the servers were last there is allowed while they are away.
  down_policy              = "extend-cache"
  enable_token_persistence = true
}

tls {
  defaults {
    ca_file         = "/etc/consul.d/tls/ca.pem"
    cert_file       = "/etc/consul.d/tls/node.pem"
    key_file        = "/etc/consul.d/tls/node-key.pem"
    verify_incoming = true
    verify_outgoing = true
    tls_min_version = "TLSv1_2"
  }
  internal_rpc {
    # Only a certificate for server.popvote.consul makes a server.
    verify_server_hostname = true
  }
}

dns_config {
  # An answer from any server, however far behind: better than none when there is no leader.
  allow_stale = true
  max_stale   = "87600h"
  service_ttl = {
    "*" = "2s"
  }
}

telemetry {
  prometheus_retention_time = "1m"
  disable_hostname          = true
}

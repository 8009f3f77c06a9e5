# Servers and clients. What differs between machines is in node.hcl, what is secret in secret.hcl; popvote-node makes
# both at each start.
data_dir = "/var/lib/nomad"

# One region over all clouds: the community edition moves work within a region only.
region = "popvote"

disable_update_check = true
leave_on_interrupt   = false
leave_on_terminate   = false

# The API is for this machine's people and programs, who have tokens; servers and clients talk by RPC.
addresses {
  http = "127.0.0.1"
}

acl {
  enabled = true
}

tls {
  rpc                    = true
  ca_file                = "/etc/nomad.d/tls/ca.pem"
  cert_file              = "/etc/nomad.d/tls/node.pem"
  key_file               = "/etc/nomad.d/tls/node-key.pem"
  verify_server_hostname = true
  tls_min_version        = "tls12"
}

# Jobs show who they are by their workload identity: no token of ours is in any of them.
consul {
  address = "127.0.0.1:8500"
  service_identity {
    aud = ["consul.io"]
    ttl = "1h"
  }
  task_identity {
    aud = ["consul.io"]
    ttl = "1h"
  }
}

vault {
  enabled               = true
  address               = "https://active.vault.service.consul:8200"
  ca_file               = "/etc/nomad.d/tls/ca.pem"
  jwt_auth_backend_path = "jwt-nomad"
  default_identity {
    aud  = ["vault.io"]
    env  = false
    file = true
    ttl  = "1h"
  }
}

telemetry {
  prometheus_metrics         = true
  publish_allocation_metrics = true
  publish_node_metrics       = true
}

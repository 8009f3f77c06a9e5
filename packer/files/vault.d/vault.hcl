# Every Vault server. Its place among the others (storage, addresses) is in node.hcl, which popvote-node makes.
# Shamir's shares unseal it: a provider's key service would be one provider that everything depends on.
ui = false

# Raft's file is mapped into memory: locking it would lock all of it. The machine has no swap.
disable_mlock = true

# active.vault.service.consul, which is where everybody asks.
service_registration "consul" {
  address = "127.0.0.1:8500"
  service = "vault"
}

default_lease_ttl = "1h"
max_lease_ttl     = "768h"

telemetry {
  prometheus_retention_time = "1m"
  disable_hostname          = true
}

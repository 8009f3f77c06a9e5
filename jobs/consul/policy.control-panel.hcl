# The control panel finds the ballot servers, and the gateways whose routes it shows, and shows what runs where.
service "api-server" {
  policy = "read"
}

service "ballot-server" {
  policy = "read"
}

service "sms-gateway" {
  policy = "read"
}

service "control-panel" {
  policy = "read"
}

service "haproxy" {
  policy = "read"
}

service "redis" {
  policy = "read"
}

service "prober" {
  policy = "read"
}

service "popvote-db" {
  policy = "read"
}

# Who leads: the active Vault, and the servers of Consul itself.
service "vault" {
  policy = "read"
}

service "consul" {
  policy = "read"
}

# Where they are: the health of a service includes that of its machine.
node_prefix "" {
  policy = "read"
}

# What a machine may look up under .consul, whoever on it asks: the active Vault, and the database's servers.
service "vault" {
  policy = "read"
}

service "popvote-db" {
  policy = "read"
}

# The servers themselves, which everybody in the network between the clouds knows.
service "consul" {
  policy = "read"
}

# Where they are.
node_prefix "" {
  policy = "read"
}

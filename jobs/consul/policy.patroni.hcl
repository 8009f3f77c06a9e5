# Patroni elects the database's leader: its keys, its sessions, its own service. On the machines of the database, and
# no job.
key_prefix "service/popvote-db/" {
  policy = "write"
}

session_prefix "" {
  policy = "write"
}

service "popvote-db" {
  policy = "write"
}

node_prefix "" {
  policy = "read"
}

agent_prefix "" {
  policy = "read"
}

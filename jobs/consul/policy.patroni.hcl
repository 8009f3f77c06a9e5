# Patroni elects the database's leader: its keys, its sessions, its own service. On the machines of the database, and
# no job. It reads nobody's health: the other members' addresses are in its keys.
key_prefix "service/popvote-db/" {
  policy = "write"
}

session_prefix "" {
  policy = "write"
}

service "popvote-db" {
  policy = "write"
}

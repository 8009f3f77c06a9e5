# The migration finds the database's servers.
service "popvote-db" {
  policy = "read"
}

# Where they are: the health of a service includes that of its machine.
node_prefix "" {
  policy = "read"
}

# The ballot server finds its database.
service "popvote-db" {
  policy = "read"
}

# Where they are: the health of a service includes that of its machine.
node_prefix "" {
  policy = "read"
}

# The gateway writes to the Redis of every cloud.
service "redis" {
  policy = "read"
}

# Where they are: the health of a service includes that of its machine.
node_prefix "" {
  policy = "read"
}

# The API server finds whom it calls, and the Redis of its cloud.
service "ballot-server" {
  policy = "read"
}

service "sms-gateway" {
  policy = "read"
}

service "redis" {
  policy = "read"
}

# Where they are: the health of a service includes that of its machine.
node_prefix "" {
  policy = "read"
}

# HAProxy's configuration is rendered from who serves voters.
service "api-server" {
  policy = "read"
}

# And from who takes SMS providers' calls.
service "sms-gateway-hooks" {
  policy = "read"
}

# Where they are: the health of a service includes that of its machine.
node_prefix "" {
  policy = "read"
}

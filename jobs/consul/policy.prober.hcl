# The prober finds the edges that it probes, and the simulated phones where there are such.
service "haproxy" {
  policy = "read"
}

service "sms-gateway" {
  policy = "read"
}

# Where they are: the health of a service includes that of its machine.
node_prefix "" {
  policy = "read"
}

# Nomad's own agents: they register themselves, and what they find no longer running they take out.
agent_prefix "" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}

service_prefix "" {
  policy = "write"
}

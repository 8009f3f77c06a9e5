server = true

ui_config {
  enabled = true
}

# Not the mesh: services are authenticated by Vault's certificates.
connect {
  enabled = false
}

autopilot {
  # A cloud that is away for an hour is not dead, and may come back while another goes.
  cleanup_dead_servers      = true
  last_contact_threshold    = "1s"
  server_stabilization_time = "30s"
  min_quorum                = 3
}

server {
  enabled = true

  # By default nobody notices for five minutes that clients are gone if the leader went with them.
  failover_heartbeat_ttl = "60s"
  heartbeat_grace        = "10s"

  default_scheduler_config {
    scheduler_algorithm             = "spread"
    memory_oversubscription_enabled = false
    preemption_config {
      system_scheduler_enabled  = true
      service_scheduler_enabled = false
      batch_scheduler_enabled   = false
    }
  }
}

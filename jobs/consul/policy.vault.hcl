# Vault registers itself: active.vault.service.consul is where everybody asks. Its data are in its own Raft. On the
# servers, and no job.
service "vault" {
  policy = "write"
}

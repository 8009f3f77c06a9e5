# The control panel shows, promotes, scales, moves and drains. It can submit no job: with that it could run as any of
# them, and have its keys. Bound to the job: nomad acl policy apply -namespace popvote -job control-panel …
namespace "popvote" {
  capabilities = [
    # The map: jobs, their copies and deployments.
    "list-jobs", "read-job",
    # A person decides about a canary.
    "promote-deployment", "fail-deployment",
    "scale-job",
    # Stopping one copy, so that Nomad places it anew where there are fewest. It restarts and signals, too, and runs nothing.
    "alloc-lifecycle",
  ]
}

# Machines and servers; taking a cloud out of service, and back.
node {
  policy = "write"
}

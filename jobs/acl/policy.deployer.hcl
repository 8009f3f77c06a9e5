# Whoever deploys: jobs of this namespace, and no shell in anything that runs.
namespace "popvote" {
  capabilities = [
    "list-jobs", "read-job", "submit-job", "dispatch-job", "scale-job", "read-job-scaling", "list-scaling-policies",
    "read-scaling-policy", "alloc-lifecycle", "read-logs",
  ]
}

# Which machines there are, to see why something isn't placed.
node {
  policy = "read"
}

node_pool "*" {
  policy = "read"
}

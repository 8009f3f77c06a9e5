# The control panel shows, promotes, scales and drains. It can submit no job: with that it could run as any of them,
# and have its keys. Bound to the job: nomad acl policy apply -namespace popvote -job control-panel …
namespace "popvote" {
  capabilities = [
    "list-jobs", "read-job", "read-job-scaling", "scale-job", "promote-deployment", "fail-deployment",
  ]
}

# Taking a cloud out of service, and back.
node {
  policy = "write"
}

# Who leads.
operator {
  policy = "read"
}

agent {
  policy = "read"
}

# A drill drains and takes back clouds, and sees what Nomad makes of it; its faults come from elsewhere.
namespace "popvote" {
  capabilities = ["list-jobs", "read-job"]
}

node {
  policy = "write"
}

operator {
  policy = "read"
}

agent {
  policy = "read"
}

gcp_project = "example-popvote"
gcp_zone    = "europe-west3-b"

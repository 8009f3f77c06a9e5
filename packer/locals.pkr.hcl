locals {
  # The hour, so that a second build of a commit with newer Debian packages has another name.
  name = "popvote-${var.image}-${formatdate("YYYYMMDD-hhmm", timestamp())}-${var.revision}"

  labels = {
    project  = "popvote"
    image    = var.image
    revision = var.revision
  }

  # GB. The ballot box and Raft belong on a volume of their own; this is the system's.
  disk = {
    server   = 20
    client   = 20
    edge     = 10
    ballotdb = 20
  }

  # Where everything is put before it is installed; scripts/run takes it from there, in CI too.
  staged = "/tmp/popvote-image"
}

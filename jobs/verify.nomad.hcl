# Every hour, reads each poll's whole public log as anybody can, through the load balancers, and checks it: the
# signatures, and that every tile belongs to its checkpoint. It fails when the log contradicts itself.

variable "site" {
  description = "What is true of this cluster: one file of vars/. An attribute that is missing there is an error."
  type = object({
    datacenters   = list(string)
    driver        = string
    node_pools    = map(string)
    programs      = string
    resources     = map(object({ cpu = number, memory = number }))
    public_origin = string
    polls         = list(string)
  })
}

variable "release" {
  type        = object({ url = string, sha256 = map(string) })
  default     = { url = "", sha256 = {} }
  description = "Where the programs are fetched from, and each one's checksum. Default: they are on the machines."
}

job "verify" {
  region      = "popvote"
  namespace   = "popvote"
  datacenters = var.site.datacenters
  node_pool   = var.site.node_pools["app"]
  type        = "batch"

  periodic {
    crons            = ["7 * * * *"]
    prohibit_overlap = true
  }

  # One for each poll, elsewhere each time.
  spread {
    attribute = "${node.datacenter}"
    weight    = 100
  }

  dynamic "group" {
    for_each = var.site.polls
    labels   = [group.value]
    content {
      disconnect {
        stop_on_client_after = "1m"
        replace              = true
      }

      # A network may be away for a moment; a log that contradicts itself still does at the third look.
      restart {
        attempts = 2
        delay    = "15s"
        interval = "10m"
        mode     = "fail"
      }

      reschedule {
        attempts  = 0
        unlimited = false
      }

      ephemeral_disk {
        size = 1000
      }

      task "verify" {
        driver       = var.site.driver
        kill_timeout = "10s"

        dynamic "artifact" {
          for_each = var.release.url == "" ? [] : [var.release]
          content {
            source      = "${artifact.value.url}/popvote?checksum=sha256:${artifact.value.sha256["popvote"]}"
            destination = "local/popvote"
            mode        = "file"
          }
        }

        config {
          command = var.release.url == "" ? "${var.site.programs}/popvote" : "local/popvote"
          args    = ["log", "mirror", "--log", var.site.public_origin, "--poll", group.value, "--dir", "${NOMAD_ALLOC_DIR}/data/log"]
        }

        resources {
          cpu    = var.site.resources["verify"].cpu
          memory = var.site.resources["verify"].memory
        }
      }
    }
  }
}

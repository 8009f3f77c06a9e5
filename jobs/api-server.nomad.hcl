# The Public Channels API: one copy in each cloud at least, and any of them will do for any request.
# See README.md for what of this works today.

variable "datacenters" {
  type        = list(string)
  default     = ["*"]
  description = "The clouds to run in: a Nomad datacenter is one provider's site."
}

variable "artifact" {
  type        = string
  description = "Where bin/api-server of a release is fetched from, with its checksum: URL?checksum=sha256:…"
}

variable "count" {
  type        = number
  default     = 3
  description = "How many run in all: two of three clouds carry everything."
}

job "api-server" {
  datacenters = var.datacenters
  namespace   = "popvote"
  type        = "service"

  # Evenly over the clouds: losing one loses its share and no more.
  spread {
    attribute = "${node.datacenter}"
    weight    = 100
  }

  # One new copy first, promoted by hand: nothing promotes itself while people vote.
  update {
    canary            = 1
    auto_promote      = false
    auto_revert       = true
    min_healthy_time  = "15s"
    progress_deadline = "10m"
  }

  group "api-server" {
    count = var.count

    constraint {
      operator = "distinct_hosts"
      value    = "true"
    }

    # A cloud that can't be reached may be working all the same: replace its copies, don't stop them.
    disconnect {
      lost_after = "10m"
      replace    = true
      reconcile  = "longest_running"
    }

    restart {
      attempts = 5
      interval = "5m"
      delay    = "10s"
      mode     = "fail"
    }

    # Elsewhere then, for as long as it takes.
    reschedule {
      unlimited      = true
      delay          = "10s"
      delay_function = "exponential"
      max_delay      = "5m"
    }

    network {
      # For requests from load balancers.
      port "service" {}
      # Probes and metrics: never the public listener.
      port "admin" {}
    }

    # Out of Consul first, and only then the stop signal: work in between still finds an answer.
    shutdown_delay = "10s"

    service {
      name     = "api-server"
      provider = "consul"
      port     = "service"
      # Not behind the load balancer until it is promoted.
      canary_tags = ["canary"]

      check {
        name                     = "ready"
        type                     = "http"
        port                     = "admin"
        path                     = "/readyz"
        interval                 = "5s"
        timeout                  = "3s"
        success_before_passing   = 2
        failures_before_critical = 2
      }

      # Depends on nothing, so a restart here can't be the fault of Vault, Redis or a database.
      check {
        name     = "alive"
        type     = "http"
        port     = "admin"
        path     = "/livez"
        interval = "10s"
        timeout  = "2s"

        check_restart {
          limit = 6
          grace = "60s"
        }
      }
    }

    task "api-server" {
      driver = "exec"

      # A voter may wait 25 s for an SMS on a long poll, and the process drains before that.
      kill_timeout = "45s"

      artifact {
        source      = var.artifact
        destination = "local/api-server"
        mode        = "file"
      }

      config {
        command = "local/api-server"
      }

      # A renewed token must never restart the fleet, which is what Nomad does by default.
      vault {
        role        = "api-server"
        change_mode = "noop"
      }

      resources {
        cpu    = 500
        memory = 256
      }
    }
  }
}

# A synthetic voter in each cloud, at the edges as voters come in. When it fails and its neighbours don't, its cloud is
# the reason; when all fail at one edge, that edge is.

variable "site" {
  description = "What is true of this cluster: one file of vars/. An attribute that is missing there is an error."
  type = object({
    datacenters   = list(string)
    driver        = string
    node_pools    = map(string)
    programs      = string
    resources     = map(object({ cpu = number, memory = number }))
    public_origin = string
    probe         = object({ every_edge = bool, poll = string, ca = string })
  })
}

variable "release" {
  type        = object({ url = string, sha256 = map(string) })
  default     = { url = "", sha256 = {} }
  description = "Where the programs are fetched from, and each one's checksum. Default: they are on the machines."
}

variable "rebalance" {
  type        = string
  default     = ""
  description = "Another word than last time places every copy anew, one at a time: after a cloud has come back."
}

locals {
  clouds = length(var.site.datacenters)
}

job "prober" {
  region      = "popvote"
  namespace   = "popvote"
  datacenters = var.site.datacenters
  node_pool   = var.site.node_pools["app"]
  type        = "service"

  meta {
    rebalance = var.rebalance
  }

  spread {
    attribute = "${node.datacenter}"
    weight    = 100
    dynamic "target" {
      for_each = var.site.datacenters
      labels   = [target.value]
      content {
        percent = target.key == 0 ? 100 - floor(100 / local.clouds) * (local.clouds - 1) : floor(100 / local.clouds)
      }
    }
  }

  # No canary: it serves nobody, and a second one in a cloud would only double its voters.
  update {
    max_parallel      = 1
    auto_promote      = false
    auto_revert       = true
    health_check      = "checks"
    min_healthy_time  = "10s"
    healthy_deadline  = "2m"
    progress_deadline = "5m"
  }

  migrate {
    max_parallel     = 1
    health_check     = "checks"
    min_healthy_time = "10s"
    healthy_deadline = "2m"
  }

  group "prober" {
    count = local.clouds

    # One for each cloud: what a lost cloud's voters see can be told from nowhere else.
    constraint {
      distinct_property = "${node.datacenter}"
      value             = 1
    }

    # It goes on in a cloud that can't be reached, and its numbers are there when the cloud is back.
    disconnect {
      lost_after = "24h"
      replace    = false
      reconcile  = "keep_original"
    }

    restart {
      attempts         = 5
      interval         = "5m"
      delay            = "10s"
      mode             = "fail"
      render_templates = true
    }

    reschedule {
      unlimited      = true
      delay          = "10s"
      delay_function = "exponential"
      max_delay      = "1m"
    }

    network {
      # Probes and metrics; it serves nothing else.
      port "admin" {}
    }

    shutdown_delay = "2s"

    # For whoever collects metrics.
    service {
      name     = "prober"
      provider = "consul"
      port     = "admin"

      meta {
        cloud = "${node.datacenter}"
        admin = "${NOMAD_PORT_admin}"
      }

      # That it runs: what it finds is in its metrics, and no reason to start it again.
      check {
        name     = "alive"
        type     = "http"
        path     = "/livez"
        interval = "10s"
        timeout  = "2s"

        check_restart {
          limit = 6
          grace = "60s"
        }
      }
    }

    task "prober" {
      driver = var.site.driver

      # A voter who is under way is given up.
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
        args = concat(
          ["probe", "--origin", var.site.public_origin, "--edges", "${NOMAD_TASK_DIR}/edges", "--admin", "${NOMAD_ADDR_admin}"],
          var.site.probe.ca == "" ? [] : ["--ca", var.site.probe.ca],
          var.site.probe.poll == "" ? [] : ["--poll", var.site.probe.poll, "--phones", "${NOMAD_TASK_DIR}/phones"],
        )
      }

      # The edges as Consul knows them, sick ones too: they are what this is for. Both files are read before each round.
      template {
        data        = <<-EDGES
          {{- range service "haproxy|any" }}
          {{- $cloud := index .ServiceMeta "cloud" }}
          {{- if or ${var.site.probe.every_edge} (eq $cloud (env "NOMAD_DC")) }}
          {{ $cloud }}/{{ .Node }}={{ .Address }}:{{ .Port }}
          {{- end }}
          {{- end }}
        EDGES
        destination = "${NOMAD_TASK_DIR}/edges"
        change_mode = "noop"
      }

      template {
        data        = <<-PHONES
          {{- range service "sms-gateway" }}
          {{- if index .ServiceMeta "phone" }}
          http://{{ .Address }}:{{ index .ServiceMeta "phone" }}
          {{- end }}
          {{- end }}
        PHONES
        destination = "${NOMAD_TASK_DIR}/phones"
        change_mode = "noop"
      }

      # What the templates read the catalogue with. Nothing of Vault: it knows what a voter knows.
      consul {}

      resources {
        cpu    = var.site.resources["prober"].cpu
        memory = var.site.resources["prober"].memory
      }
    }
  }
}

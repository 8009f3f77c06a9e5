# Where voters come in: one on each machine of the edge. It ends TLS, says who a request is from, and balances over
# the API servers that Consul knows, its own cloud's first.

variable "site" {
  description = "What is true of this cluster: one file of vars/. An attribute that is missing there is an error."
  type = object({
    datacenters = list(string)
    driver      = string
    node_pools  = map(string)
    resources   = map(object({ cpu = number, memory = number }))
    edge = object({
      program     = string
      address     = string
      https       = number
      http        = number
      certificate = string
      balancers   = list(string)
      requests    = number
      connections = number
      hooks       = number
    })
    sms_files = list(string)
  })
}

locals {
  own_certificate = var.site.edge.certificate != ""
}

job "haproxy" {
  region      = "popvote"
  namespace   = "popvote"
  datacenters = var.site.datacenters
  node_pool   = var.site.node_pools["edge"]
  type        = "system"

  # Its ports are fixed, so there is no new copy beside an old one: one edge after the other, each healthy before the
  # next. What a template changes needs none of this: HAProxy is reloaded where it runs.
  update {
    max_parallel      = 1
    auto_promote      = false
    health_check      = "checks"
    min_healthy_time  = "15s"
    healthy_deadline  = "5m"
    progress_deadline = "10m"
  }

  group "haproxy" {
    # An edge that the servers can't reach still serves its cloud's voters.
    disconnect {
      lost_after = "24h"
      replace    = false
    }

    restart {
      attempts         = 5
      interval         = "5m"
      delay            = "5s"
      mode             = "delay"
      render_templates = true
    }

    network {
      port "https" {
        static = var.site.edge.https
      }
      port "http" {
        static = var.site.edge.http
      }
      # Probes and metrics.
      port "admin" {}
    }

    # Out of Consul, and of what goes by it, before connections are closed.
    shutdown_delay = "10s"

    service {
      name     = "haproxy"
      provider = "consul"
      port     = "https"

      meta {
        cloud = "${node.datacenter}"
        admin = "${NOMAD_PORT_admin}"
      }

      # Without a single API server, somebody else's edge is the better one.
      check {
        name                     = "ready"
        type                     = "http"
        port                     = "admin"
        path                     = "/readyz"
        interval                 = "5s"
        timeout                  = "2s"
        success_before_passing   = 2
        failures_before_critical = 2
      }

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

    task "haproxy" {
      driver = var.site.driver

      # No new connections; what is under way ends. TERM would cut it off.
      kill_signal  = "SIGUSR1"
      kill_timeout = "90s"

      config {
        command = var.site.edge.program
        # A master that stays, and a worker for each configuration.
        args = ["-W", "-db", "-f", "${NOMAD_TASK_DIR}/haproxy.cfg"]
      }

      env {
        EDGE_ADDRESS     = var.site.edge.address
        EDGE_HTTPS       = var.site.edge.https
        EDGE_HTTP        = var.site.edge.http
        EDGE_CERTIFICATE = local.own_certificate ? var.site.edge.certificate : "${NOMAD_SECRETS_DIR}/edge.pem"
        EDGE_BALANCERS   = join(" ", var.site.edge.balancers)
        EDGE_REQUESTS    = var.site.edge.requests
        EDGE_CONNECTIONS = var.site.edge.connections
        # Where SMS are simulated, nobody calls.
        EDGE_HOOKS = length(var.site.sms_files) > 0 ? var.site.edge.hooks : ""
        # The exec driver starts it as nobody, with the right to use low ports; otherwise it gives up root by itself.
        EDGE_USER = var.site.driver == "raw_exec" ? "haproxy" : ""
      }

      # A server that comes or goes is a reload: a new worker takes new connections, and the old one keeps what it
      # holds. Many at once are few reloads.
      template {
        data          = file("templates/haproxy.cfg.tpl")
        destination   = "${NOMAD_TASK_DIR}/haproxy.cfg"
        change_mode   = "signal"
        change_signal = "SIGUSR2"
        splay         = "0s"

        wait {
          min = "1s"
          max = "5s"
        }
      }

      # The certificate that browsers see comes from a public authority, so an operator puts it into Vault.
      dynamic "template" {
        for_each = local.own_certificate ? [] : ["secret/data/popvote/haproxy"]
        content {
          data          = "{{ with secret \"${template.value}\" }}{{ .Data.data.certificate }}\n{{ .Data.data.key }}\n{{ end }}"
          destination   = "${NOMAD_SECRETS_DIR}/edge.pem"
          perms         = "0600"
          uid           = var.site.driver == "raw_exec" ? 0 : 65534
          gid           = var.site.driver == "raw_exec" ? 0 : 65534
          change_mode   = "signal"
          change_signal = "SIGUSR2"
        }
      }

      dynamic "vault" {
        for_each = local.own_certificate ? [] : ["haproxy"]
        content {
          role         = vault.value
          change_mode  = "noop"
          env          = false
          disable_file = true
        }
      }

      # What templates read the catalogue with.
      consul {}

      resources {
        cpu    = var.site.resources["haproxy"].cpu
        memory = var.site.resources["haproxy"].memory
      }
    }
  }
}

# For operators. It may be away for a while: voting goes on without it.

variable "site" {
  description = "What is true of this cluster: one file of vars/. An attribute that is missing there is an error."
  type = object({
    datacenters    = list(string)
    driver         = string
    node_pools     = map(string)
    programs       = string
    counts         = map(number)
    distinct_hosts = bool
    resources      = map(object({ cpu = number, memory = number }))
    consul         = string
    nomad          = string
    vault          = object({ address = string, ca = string })
    panel_origin   = string
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
  name    = "control-panel"
  clouds  = length(var.site.datacenters)
  count   = var.site.counts[local.name]
  program = var.release.url == "" ? "${var.site.programs}/${local.name}" : "local/${local.name}"
}

job "control-panel" {
  region      = "popvote"
  namespace   = "popvote"
  datacenters = var.site.datacenters
  node_pool   = var.site.node_pools["app"]
  type        = "service"

  meta {
    rebalance = var.rebalance
  }

  # Evenly over the clouds: losing one loses its share and no more. Each is named, because a cloud that isn't is
  # scored as if it had no share.
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

  # One new copy first, promoted by hand: nothing promotes itself while people vote.
  update {
    canary            = 1
    max_parallel      = 1
    auto_promote      = false
    auto_revert       = true
    health_check      = "checks"
    min_healthy_time  = "15s"
    healthy_deadline  = "5m"
    progress_deadline = "10m"
  }

  migrate {
    max_parallel     = 1
    health_check     = "checks"
    min_healthy_time = "15s"
    healthy_deadline = "5m"
  }

  group "control-panel" {
    count = local.count

    # All of them fit on the clouds that are left when one is lost, and no cloud ever gets more.
    constraint {
      distinct_property = "${node.datacenter}"
      value             = ceil(local.count / max(1, local.clouds - 1))
    }

    constraint {
      operator = "distinct_hosts"
      value    = var.site.distinct_hosts
    }

    # A cloud that can't be reached may be working all the same: its copies go on, others are made elsewhere, and when
    # it is back, its own end. It is lost_after that decides when: with Nomad 1.11.2, replace alone replaces nothing
    # where reschedule.delay is over a second, and five are the least.
    disconnect {
      lost_after = "15s"
      replace    = true
      reconcile  = "longest_running"
    }

    restart {
      attempts         = 5
      interval         = "5m"
      delay            = "10s"
      mode             = "fail"
      render_templates = true
    }

    # Elsewhere then, for as long as it takes.
    reschedule {
      unlimited      = true
      delay          = "5s"
      delay_function = "exponential"
      max_delay      = "5m"
    }

    network {
      # For operators' browsers, never public.
      port "service" {}
      # Probes and metrics: never the public listener.
      port "admin" {}
    }

    # Out of Consul first, and only then the stop signal: work in between still finds an answer.
    shutdown_delay = "10s"

    service {
      name     = local.name
      provider = "consul"
      port     = "service"
      # No traffic before it is promoted.
      canary_tags = ["canary"]

      meta {
        cloud = "${node.datacenter}"
        # Whoever balances over these asks for readiness there.
        admin = "${NOMAD_PORT_admin}"
      }

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

    task "control-panel" {
      driver = var.site.driver

      # A count may be running, and the process drains before that.
      kill_timeout = "45s"

      dynamic "artifact" {
        for_each = var.release.url == "" ? [] : [var.release]
        content {
          source      = "${artifact.value.url}/${local.name}?checksum=sha256:${artifact.value.sha256[local.name]}"
          destination = "local/${local.name}"
          mode        = "file"
        }
      }

      config {
        command = local.program
      }

      # The program logs in to Vault by itself, with this, as often as it has to. A new one must never restart the
      # fleet, which is what Nomad does by default.
      identity {
        name        = "vault_default"
        aud         = ["vault.io"]
        file        = true
        ttl         = "1h"
        change_mode = "noop"
      }

      # Only where Vault is known. The token that Nomad fetches stays with Nomad.
      vault {
        role         = local.name
        change_mode  = "noop"
        env          = false
        disable_file = true
      }

      # A token to read the catalogue with, CONSUL_HTTP_TOKEN.
      consul {}

      # nomad_token, which may do what acl/policy.control-panel.hcl says and nothing else.
      identity {
        file        = true
        change_mode = "noop"
      }

      env {
        CONTROL_PANEL_LISTEN          = "${NOMAD_ADDR_service}"
        CONTROL_PANEL_ADMIN           = "${NOMAD_ADDR_admin}"
        CONTROL_PANEL_PUBLIC_ORIGIN   = var.site.panel_origin
        CONTROL_PANEL_LOGIN_LINK_FILE = "${NOMAD_SECRETS_DIR}/login-link"

        # Ballot servers and SMS gateways: the program follows them by itself, and goes on with those it knows while Consul is
        # away. Its own cloud's come first.
        CONTROL_PANEL_CONSUL_ADDRESS = var.site.consul
        CONTROL_PANEL_CLOUD          = "${node.datacenter}"

        # The map of clouds.
        CONTROL_PANEL_NOMAD_ADDRESS    = var.site.nomad == "" ? "unix://${NOMAD_SECRETS_DIR}/api.sock" : var.site.nomad
        CONTROL_PANEL_NOMAD_TOKEN_FILE = "${NOMAD_SECRETS_DIR}/nomad_token"

        # Keys and certificates: the program asks by itself, and goes on with what it has while Vault is away.
        CONTROL_PANEL_VAULT_ADDRESS = var.site.vault.address
        CONTROL_PANEL_VAULT_CA      = var.site.vault.ca
        CONTROL_PANEL_VAULT_JWT     = "${NOMAD_SECRETS_DIR}/nomad_vault_default.jwt"
      }

      resources {
        cpu    = var.site.resources[local.name].cpu
        memory = var.site.resources[local.name].memory
      }
    }
  }
}

# The Public Channels API: any copy will do for any request, in any cloud.

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
    vault          = object({ address = string, ca = string })
    public_origin  = string
    security       = object({ contact = list(string), policy = string, languages = list(string) })
    mirrors        = list(string)
    inbound_number = string
    countries      = list(string)
    calls          = bool
    human_check    = object({ provider = string, site_key = string, origin = string })
    challenge_cost = number
    challenge_most = number
    admission_rate = number
    limits_scale   = number
    limits = object({
      override = map(object({ count = number, window = string }))
      polls    = map(map(object({ count = number, window = string })))
    })
    edges = list(string)
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
  name    = "api-server"
  clouds  = length(var.site.datacenters)
  count   = var.site.counts[local.name]
  program = var.release.url == "" ? "${var.site.programs}/${local.name}" : "local/${local.name}"
}

job "api-server" {
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

  group "api-server" {
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

    # Upward only, and never below what carries the peak with one cloud less: before a poll opens, people scale.
    scaling {
      enabled = true
      min     = local.count
      max     = local.count * 3

      policy {
        cooldown            = "2m"
        evaluation_interval = "30s"

        check "cpu" {
          source = "nomad-apm"
          query  = "avg_cpu"

          strategy "threshold" {
            lower_bound = 60
            delta       = 1
          }
        }
      }
    }

    network {
      # For requests from HAProxy.
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

    task "api-server" {
      driver = var.site.driver

      # A voter may wait 25 s for an SMS on a long poll, and the process drains before that.
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
        args    = ["-config", "${NOMAD_TASK_DIR}/limits.yaml"]
      }

      # JSON is YAML.
      template {
        data        = "limits: ${jsonencode(var.site.limits)}"
        destination = "${NOMAD_TASK_DIR}/limits.yaml"
        change_mode = "noop"
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

      # What belongs to the human check's site key. The program reads it at each use.
      dynamic "template" {
        for_each = var.site.human_check.provider == "" ? [] : ["secret/data/popvote/human-check"]
        content {
          data        = "{{ with secret \"${template.value}\" }}{{ .Data.data.secret }}{{ end }}"
          destination = "${NOMAD_SECRETS_DIR}/human-check"
          perms       = "0600"
          uid         = var.site.driver == "raw_exec" ? 0 : 65534
          gid         = var.site.driver == "raw_exec" ? 0 : 65534
          change_mode = "noop"
        }
      }

      # A token to read the catalogue with, CONSUL_HTTP_TOKEN.
      consul {}

      env {
        API_SERVER_REDIS_TLS       = true
        API_SERVER_LISTEN          = "${NOMAD_ADDR_service}"
        API_SERVER_ADMIN           = "${NOMAD_ADDR_admin}"
        API_SERVER_PUBLIC_ORIGIN   = var.site.public_origin
        API_SERVER_ALLOW_ORIGIN    = join(",", var.site.mirrors)
        API_SERVER_INBOUND_NUMBER  = var.site.inbound_number
        API_SERVER_PHONE_COUNTRIES = join(",", var.site.countries)
        API_SERVER_CALLS           = var.site.calls
        API_SERVER_CHALLENGE_COST  = var.site.challenge_cost
        API_SERVER_CHALLENGE_MOST  = var.site.challenge_most
        API_SERVER_ADMISSION_RATE  = var.site.admission_rate
        API_SERVER_LIMITS_SCALE    = var.site.limits_scale
        API_SERVER_TRUSTED_PROXIES = join(",", var.site.edges)

        API_SERVER_HUMAN_CHECK_PROVIDER    = var.site.human_check.provider
        API_SERVER_HUMAN_CHECK_SITE_KEY    = var.site.human_check.site_key
        API_SERVER_HUMAN_CHECK_ORIGIN      = var.site.human_check.origin
        API_SERVER_HUMAN_CHECK_SECRET_FILE = var.site.human_check.provider == "" ? "" : "${NOMAD_SECRETS_DIR}/human-check"

        # What /.well-known/security.txt says, if anything.
        API_SERVER_SECURITY_CONTACT   = join(",", var.site.security.contact)
        API_SERVER_SECURITY_POLICY    = var.site.security.policy
        API_SERVER_SECURITY_LANGUAGES = join(",", var.site.security.languages)

        # Ballot servers, gateways and Redis: the program follows them by itself, and goes on with those it knows while
        # Consul is away. Its own cloud's come first, and of Redis no other; without that it limits by itself.
        API_SERVER_CONSUL_ADDRESS = var.site.consul
        API_SERVER_CLOUD          = "${node.datacenter}"

        # Keys and certificates: the program asks by itself, and goes on with what it has while Vault is away.
        API_SERVER_VAULT_ADDRESS = var.site.vault.address
        API_SERVER_VAULT_CA      = var.site.vault.ca
        API_SERVER_VAULT_JWT     = "${NOMAD_SECRETS_DIR}/nomad_vault_default.jwt"
      }

      resources {
        cpu    = var.site.resources[local.name].cpu
        memory = var.site.resources[local.name].memory
      }
    }
  }
}

# One Redis in each cloud, for limits and for what voters texted. It may lose all it has at any time: that costs some
# voters another SMS, and is never a vote.

variable "site" {
  description = "What is true of this cluster: one file of vars/. An attribute that is missing there is an error."
  type = object({
    datacenters = list(string)
    driver      = string
    node_pools  = map(string)
    resources   = map(object({ cpu = number, memory = number }))
    redis       = object({ program = string, client = string, port = number, memory = string })
  })
}

variable "rebalance" {
  type        = string
  default     = ""
  description = "Another word than last time places every copy anew, one at a time: after a cloud has come back."
}

locals {
  clouds = length(var.site.datacenters)
}

job "redis" {
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

  # No canary: its port is fixed, and a second one in a cloud would be one that nobody asks.
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

  group "redis" {
    count = local.clouds

    # One for each cloud: a lost cloud's has nobody to serve.
    constraint {
      distinct_property = "${node.datacenter}"
      value             = 1
    }

    # A cloud that can't be reached may be working all the same, on its own Redis.
    disconnect {
      lost_after = "24h"
      replace    = false
      reconcile  = "keep_original"
    }

    restart {
      attempts         = 5
      interval         = "5m"
      delay            = "5s"
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
      port "service" {
        static = var.site.redis.port
      }
    }

    shutdown_delay = "2s"

    service {
      name     = "redis"
      provider = "consul"
      port     = "service"

      meta {
        cloud = "${node.datacenter}"
      }

      check {
        name     = "listening"
        type     = "tcp"
        interval = "5s"
        timeout  = "2s"
      }
    }

    task "redis" {
      driver = var.site.driver

      # Nothing has to be written.
      kill_timeout = "10s"

      config {
        command = var.site.redis.program
        args    = ["${NOMAD_SECRETS_DIR}/redis.conf"]
      }

      template {
        data        = <<-CONF
          bind {{ env "NOMAD_IP_service" }}
          port 0
          tls-port {{ env "NOMAD_PORT_service" }}
          # Whoever has no certificate of the services' authority is not let in; a password would add nothing.
          tls-auth-clients yes
          protected-mode no
          tls-protocols "TLSv1.3"
          tls-cert-file {{ env "NOMAD_SECRETS_DIR" }}/redis.pem
          tls-key-file {{ env "NOMAD_SECRETS_DIR" }}/redis.pem
          tls-ca-cert-file {{ env "NOMAD_SECRETS_DIR" }}/ca.pem
          save ""
          appendonly no
          dir {{ env "NOMAD_TASK_DIR" }}
          maxmemory ${var.site.redis.memory}
          # What is about to expire goes first.
          maxmemory-policy volatile-ttl
        CONF
        destination = "${NOMAD_SECRETS_DIR}/redis.conf"
        change_mode = "noop"
      }

      # A new certificate is read without a restart, long before the old one ends.
      template {
        data        = <<-PEM
          {{- with pkiCert "pki_int/issue/redis" "uri_sans=spiffe://popvote/redis" }}
          {{- .Cert }}
          {{ .CA }}
          {{ .Key }}
          {{- end }}
        PEM
        destination = "${NOMAD_SECRETS_DIR}/redis.pem"
        perms       = "0600"
        uid         = var.site.driver == "raw_exec" ? 0 : 65534
        gid         = var.site.driver == "raw_exec" ? 0 : 65534
        change_mode = "script"
        change_script {
          command = var.site.redis.client
          args = [
            "--tls", "--cert", "${NOMAD_SECRETS_DIR}/redis.pem", "--key", "${NOMAD_SECRETS_DIR}/redis.pem",
            "--cacert", "${NOMAD_SECRETS_DIR}/ca.pem", "-h", "${NOMAD_IP_service}", "-p", "${NOMAD_PORT_service}",
            "config", "set", "tls-cert-file", "${NOMAD_SECRETS_DIR}/redis.pem", "tls-key-file", "${NOMAD_SECRETS_DIR}/redis.pem",
          ]
        }
      }

      # Who may call: whoever has a certificate of the services' authority.
      template {
        data        = "{{ with secret \"pki_int/cert/ca_chain\" }}{{ .Data.certificate }}\n{{ end }}"
        destination = "${NOMAD_SECRETS_DIR}/ca.pem"
        change_mode = "noop"
      }

      vault {
        role         = "redis"
        change_mode  = "noop"
        env          = false
        disable_file = true
      }

      resources {
        cpu    = var.site.resources["redis"].cpu
        memory = var.site.resources["redis"].memory
      }
    }
  }
}

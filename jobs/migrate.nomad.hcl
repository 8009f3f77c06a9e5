# Makes the ballot server's tables, or brings them up to date: nomad job dispatch -namespace popvote migrate.
# Safe while ballot servers of this version or the one before are running, and to run twice.

variable "site" {
  description = "What is true of this cluster: one file of vars/. An attribute that is missing there is an error."
  type = object({
    datacenters = list(string)
    driver      = string
    node_pools  = map(string)
    programs    = string
    resources   = map(object({ cpu = number, memory = number }))
    database    = object({ name = string, options = string })
  })
}

variable "release" {
  type        = object({ url = string, sha256 = map(string) })
  default     = { url = "", sha256 = {} }
  description = "Where the programs are fetched from, and each one's checksum. Default: they are on the machines."
}

job "migrate" {
  region      = "popvote"
  namespace   = "popvote"
  datacenters = var.site.datacenters
  node_pool   = var.site.node_pools["app"]
  type        = "batch"

  # Somebody decides each time.
  parameterized {
    payload = "forbidden"
  }

  group "migrate" {
    # A second one beside the first would wait for its lock, so it may as well stop.
    disconnect {
      stop_on_client_after = "1m"
      replace              = true
    }

    # It says what is wrong, and somebody has to look.
    restart {
      attempts = 0
      mode     = "fail"
    }

    reschedule {
      attempts  = 0
      unlimited = false
    }

    task "migrate" {
      driver       = var.site.driver
      kill_timeout = "60s"

      dynamic "artifact" {
        for_each = var.release.url == "" ? [] : [var.release]
        content {
          source      = "${artifact.value.url}/ballot-server?checksum=sha256:${artifact.value.sha256["ballot-server"]}"
          destination = "local/ballot-server"
          mode        = "file"
        }
      }

      config {
        command = var.release.url == "" ? "${var.site.programs}/ballot-server" : "local/ballot-server"
        args    = ["migrate", "-database", "${NOMAD_SECRETS_DIR}/dsn"]
      }

      # All servers of the database: the program finds the primary among them.
      template {
        data        = <<-DSN
          {{- with secret "database/creds/migrate" }}postgres://{{ .Data.username }}:{{ .Data.password }}@{{ end }}
          {{- range $i, $server := service "popvote-db|any" }}{{ if $i }},{{ end }}{{ .Address }}:{{ .Port }}{{ end -}}
          /${var.site.database.name}?${var.site.database.options}
        DSN
        destination = "${NOMAD_SECRETS_DIR}/dsn"
        perms       = "0600"
        uid         = var.site.driver == "raw_exec" ? 0 : 65534
        gid         = var.site.driver == "raw_exec" ? 0 : 65534
        change_mode = "noop"
      }

      vault {
        role         = "migrate"
        change_mode  = "noop"
        env          = false
        disable_file = true
      }

      consul {}

      resources {
        cpu    = var.site.resources["migrate"].cpu
        memory = var.site.resources["migrate"].memory
      }
    }
  }
}

client {
  enabled = true

  # Tasks are on the network between the clouds; what voters reach binds its address by itself.
  network_interface = "wg0"

  # Jobs ask for up to 90 s; by default 30 s are granted, and votes that wait for the database are cut off.
  max_kill_timeout = "120s"

  # While Consul or Vault is away a task goes on with what it has. By default it is killed after twelve tries.
  template {
    consul_retry {
      attempts = 0
    }
    vault_retry {
      attempts = 0
    }
    nomad_retry {
      attempts = 0
    }
  }

  options = {
    # A metadata service that doesn't answer would hold up the start.
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean"
    "driver.allowlist"     = "exec"
  }

  # What a task sees of the machine. Of /etc by name only: the rest has the agents' keys in it.
  chroot_env = {
    "/bin"                       = "/bin"
    "/sbin"                      = "/sbin"
    "/lib"                       = "/lib"
    "/lib64"                     = "/lib64"
    "/usr/bin"                   = "/usr/bin"
    "/usr/sbin"                  = "/usr/sbin"
    "/usr/lib"                   = "/usr/lib"
    "/usr/local/bin"             = "/usr/local/bin"
    "/usr/share/zoneinfo"        = "/usr/share/zoneinfo"
    "/etc/ssl/certs"             = "/etc/ssl/certs"
    "/etc/ld.so.cache"           = "/etc/ld.so.cache"
    "/etc/localtime"             = "/etc/localtime"
    "/etc/nsswitch.conf"         = "/etc/nsswitch.conf"
    "/etc/passwd"                = "/etc/passwd"
    "/etc/group"                 = "/etc/group"
    "/etc/resolv.conf"           = "/etc/resolv.conf"
    "/etc/hosts"                 = "/etc/hosts"
    "/etc/popvote/ca.pem"        = "/etc/popvote/ca.pem"
    "/run/systemd/resolve"       = "/run/systemd/resolve"
    "/usr/share/ca-certificates" = "/usr/share/ca-certificates"
  }

  # Not for jobs: the agents, and what the system needs to stay in reach.
  reserved {
    cpu    = 300
    memory = 512
    disk   = 2048
  }

  # Logs and files of tasks that ended.
  gc_interval             = "1m"
  gc_disk_usage_threshold = 80
  gc_max_allocs           = 50
}

plugin "exec" {
  config {
    # Each task in name spaces of its own.
    default_pid_mode = "private"
    default_ipc_mode = "private"
    # Ports below 1024 are opened by a sysctl, not by a capability.
    allow_caps = ["audit_write", "chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid"]
  }
}

# No task without a chroot.
plugin "raw_exec" {
  config {
    enabled = false
  }
}

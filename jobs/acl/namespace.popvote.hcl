# nomad namespace apply acl/namespace.popvote.hcl
name        = "popvote"
description = "Everything a vote is made of."

capabilities {
  # raw_exec only runs where a machine allows it, too: on those of a test.
  enabled_task_drivers = ["exec", "raw_exec"]
}

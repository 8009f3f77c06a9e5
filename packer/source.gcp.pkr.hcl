source "googlecompute" "gcp" {
  project_id          = var.gcp_project
  zone                = var.gcp_zone
  source_image_family = "debian-12"
  machine_type        = "e2-medium"
  disk_size           = local.disk[var.image]
  image_name          = local.name
  image_family        = "popvote-${var.image}"
  image_description   = "PopVote ${var.image}"
  image_labels        = local.labels
  ssh_username        = "packer"
  # No account: what is built asks nothing of Google.
  disable_default_service_account = true
}

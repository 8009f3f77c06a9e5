# One build for every image and provider: what differs between images is a table in images/, read by scripts/run.
build {
  name = "popvote"

  sources = [
    "source.amazon-ebs.aws",
    "source.googlecompute.gcp",
    "source.azure-arm.azure",
    "source.digitalocean.digitalocean",
    "source.qemu.qemu",
  ]

  # cloud-init installs keys and grows the disk; before it has ended, apt is locked.
  provisioner "shell" {
    inline = [
      "! command -v cloud-init >/dev/null || cloud-init status --wait >/dev/null || test $? = 2",
      "mkdir -m 0700 ${local.staged} ${local.staged}/release",
    ]
  }

  provisioner "file" {
    sources = [
      "${path.root}/files",
      "${path.root}/images",
      "${path.root}/scripts",
      "${path.root}/verify",
    ]
    destination = "${local.staged}/"
  }

  provisioner "file" {
    source      = "${var.release}/"
    destination = "${local.staged}/release"
  }

  # One command: after the clean step nobody can log in again.
  provisioner "shell" {
    inline = ["sudo bash ${local.staged}/scripts/run ${var.image} ${var.revision}"]
  }

  # What came of it: the provider's name of each image, to deploy by.
  post-processor "manifest" {
    output     = "${var.output}/manifest.json"
    strip_path = true
    custom_data = {
      image    = var.image
      revision = var.revision
    }
  }
}

# A disk for every provider that takes one: Hetzner, OVH, OpenStack, one's own machines.
source "qemu" "qemu" {
  disk_image       = true
  iso_url          = var.qemu_base
  iso_checksum     = var.qemu_base_checksum
  accelerator      = var.qemu_accelerator
  headless         = true
  memory           = 2048
  disk_size        = "${local.disk[var.image]}G"
  disk_interface   = "virtio"
  net_device       = "virtio-net"
  format           = "qcow2"
  disk_compression = true
  output_directory = "${var.output}/${local.name}"
  vm_name          = "${local.name}.qcow2"
  ssh_username     = "debian"
  # A key for this build alone, and the disk that lets it in; scripts/98-clean.sh takes it out again.
  ssh_private_key_file = "${var.seed}/key"
  ssh_timeout          = "10m"
  cd_files             = ["${var.seed}/user-data", "${var.seed}/meta-data"]
  cd_label             = "cidata"
  shutdown_command     = "sudo systemctl poweroff"
}

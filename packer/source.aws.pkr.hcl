source "amazon-ebs" "aws" {
  region                  = var.aws_region
  instance_type           = "t3.medium"
  ami_name                = local.name
  ami_description         = "PopVote ${var.image}"
  ssh_username            = "admin"
  temporary_key_pair_type = "ed25519"
  encrypt_boot            = true
  tags                    = local.labels

  # Taken at build time, not at validation.
  source_ami_filter {
    filters = {
      name                = "debian-12-amd64-*"
      virtualization-type = "hvm"
      root-device-type    = "ebs"
    }
    owners      = [var.aws_owner]
    most_recent = true
  }

  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_size           = local.disk[var.image]
    volume_type           = "gp3"
    iops                  = 3000
    throughput            = 125
    delete_on_termination = true
  }
}

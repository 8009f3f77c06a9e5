# Alone in this file: Debian's packer 1.6.6, which checks the rest, brings its builders and doesn't know the block.
# For 1.11 and later: `packer init packer`, with exact versions, so that a build next year is the same build.

packer {
  required_version = ">= 1.6.6"

  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = "1.3.3"
    }
    azure = {
      source  = "github.com/hashicorp/azure"
      version = "2.1.8"
    }
    digitalocean = {
      source  = "github.com/digitalocean/digitalocean"
      version = "1.4.1"
    }
    googlecompute = {
      source  = "github.com/hashicorp/googlecompute"
      version = "1.1.6"
    }
    qemu = {
      source  = "github.com/hashicorp/qemu"
      version = "1.1.0"
    }
  }
}

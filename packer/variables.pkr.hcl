# What has no default has to be said: packer build -var image=server -var release=bin/release …

variable "image" {
  type        = string
  description = "Which machine: server (Consul, Nomad and Vault servers), client (runs jobs), edge (client with a public address), ballotdb (the database)."

  validation {
    condition     = contains(["server", "client", "edge", "ballotdb"], var.image)
    error_message = "Image must be server, client, edge or ballotdb."
  }
}

variable "release" {
  type        = string
  description = "Directory with consul, nomad, vault, SHA256SUMS and VERSIONS, made by tools/packer/release."

  validation {
    condition     = length(var.release) > 0
    error_message = "Release must be a directory made by tools/packer/release."
  }
}

variable "revision" {
  type        = string
  description = "The commit of this directory, 12 hex digits: part of the image's name."

  validation {
    condition     = length(var.revision) == 12
    error_message = "Revision must be 12 hex digits: git rev-parse --short=12 HEAD."
  }
}

# --- vars/aws.pkrvars.hcl

variable "aws_region" {
  type        = string
  default     = "eu-central-1"
  description = "Where the image is built and kept."
}

variable "aws_owner" {
  type        = string
  default     = "136693071363"
  description = "Whose base image is taken: Debian's own account."
}

# --- vars/gcp.pkrvars.hcl

variable "gcp_project" {
  type        = string
  default     = "unset"
  description = "The project that owns the image."
}

variable "gcp_zone" {
  type        = string
  default     = "europe-west3-b"
  description = "Where it is built."
}

# --- vars/azure.pkrvars.hcl

variable "azure_subscription" {
  type        = string
  default     = "unset"
  description = "The subscription; who is logged in with `az login` builds."
}

variable "azure_group" {
  type        = string
  default     = "unset"
  description = "The resource group that owns the image."
}

variable "azure_location" {
  type        = string
  default     = "germanywestcentral"
  description = "Where it is built."
}

# --- vars/digitalocean.pkrvars.hcl

variable "digitalocean_region" {
  type        = string
  default     = "fra1"
  description = "Where it is built."
}

variable "digitalocean_token" {
  type        = string
  default     = env("DIGITALOCEAN_TOKEN")
  sensitive   = true
  description = "From the environment only: never in a file of this directory."
}

# --- vars/qemu.pkrvars.hcl

variable "qemu_base" {
  type        = string
  default     = "unset"
  description = "Debian's generic cloud image (qcow2): a file."
}

variable "qemu_base_checksum" {
  type        = string
  default     = "sha512:unset"
  description = "sha512:… of it, from Debian's signed SHA512SUMS. Without it nothing is built."
}

variable "seed" {
  type        = string
  default     = "bin/images/seed"
  description = "Directory with key, user-data and meta-data, made by tools/packer/seed."
}

variable "qemu_accelerator" {
  type        = string
  default     = "kvm"
  description = "kvm, or tcg where there is none (ten times slower)."
}

variable "output" {
  type        = string
  default     = "bin/images"
  description = "Where QEMU's disk and the lists of what was built go."
}

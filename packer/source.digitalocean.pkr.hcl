source "digitalocean" "digitalocean" {
  api_token     = var.digitalocean_token
  image         = "debian-12-x64"
  region        = var.digitalocean_region
  size          = "s-1vcpu-2gb"
  snapshot_name = local.name
  ssh_username  = "root"
  tags          = ["popvote", "popvote-${var.image}"]
}

digitalocean_region = "fra1"

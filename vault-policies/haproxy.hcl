# The load balancer in front of the API servers. It holds no key of ours: tokens pass through it sealed.

# The certificate that browsers see, and its key. An operator puts them there.
path "secret/data/popvote/haproxy" {
  capabilities = ["read"]
}

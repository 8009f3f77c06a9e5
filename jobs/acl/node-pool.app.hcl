# nomad node pool apply acl/node-pool.app.hcl
node_pool "app" {
  description = "Machines of a cloud that no voter can reach: services, Redis, batches."
}

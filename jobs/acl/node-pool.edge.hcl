# nomad node pool apply acl/node-pool.edge.hcl
node_pool "edge" {
  description = "Machines with a public address: HAProxy and nothing else."
}

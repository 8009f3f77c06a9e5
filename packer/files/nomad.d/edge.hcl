# Nothing lands beside HAProxy on a machine that voters can reach.
client {
  node_pool = "edge"
}

# The ballot server is the only one with a way to the database, and signs what the public checks. It
# gets voter tags, and can't make any: nothing here reads a poll's identity key.

# Database credentials that live an hour and die with the token that asked for them.
path "database/creds/ballot-server" {
  capabilities = ["read"]
}

# The keys that sign manifests, receipts and results, and the ballot log's checkpoints.
path "secret/data/popvote/signing" {
  capabilities = ["read"]
}

# Its certificate for mutual TLS: what api-server and control-panel check that they talk to.
path "pki_int/issue/ballot-server" {
  capabilities = ["update"]
}

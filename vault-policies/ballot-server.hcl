# The ballot server is the only one with a way to the database, and signs what the public checks. It
# gets voter tags, and can't make any: nothing here reads a poll's identity key. It destroys that key
# when the poll's audit window has ended.

# Database credentials that live an hour and die with the token that asked for them.
path "database/creds/ballot-server" {
  capabilities = ["read"]
}

# The keys that sign manifests, receipts, results and the ballot log's checkpoints, and the one that
# hides requests in the participation table. Made at their first use, and never changed.
path "secret/data/popvote/signing/*" {
  capabilities = ["create", "read"]
}

# Whether a poll's identity key is there, and when it was destroyed; not the key.
path "secret/metadata/popvote/polls/*" {
  capabilities = ["read"]
}

# When the destruction of a poll's identity key begins: it is given to nobody from then on.
path "secret/delete/popvote/polls/*" {
  capabilities = ["update"]
}

# The destruction itself. Nothing here undoes it.
path "secret/destroy/popvote/polls/*" {
  capabilities = ["update"]
}

# What the certificate of destruction says of the key that was.
path "secret/data/popvote/fingerprints/*" {
  capabilities = ["read"]
}

# Its certificate for mutual TLS: what api-server and control-panel check that they talk to.
path "pki_int/sign/ballot-server" {
  capabilities = ["update"]
}

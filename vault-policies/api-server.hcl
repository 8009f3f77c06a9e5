# The API server seals and opens access tokens by itself, with keys that Vault makes and rotates.

# All versions of the token key: what opens a token in one cloud must open it in every other.
path "transit/export/encryption-key/popvote-token" {
  capabilities = ["read"]
}

# When each version was made: a version seals only once every server has had time to fetch it.
path "transit/keys/popvote-token" {
  capabilities = ["read"]
}

# A poll's keys for voter and phone tags, made at their first use. No update: another key in the
# middle of a poll would give everybody a second vote.
path "secret/data/popvote/polls/*" {
  capabilities = ["create", "read"]
}

# What the verification board's keys, one-time codes and proof-of-work challenges are made with.
path "secret/data/popvote/verification" {
  capabilities = ["read"]
}

# Its certificate for mutual TLS with the ballot server, renewed at two thirds of its life.
path "pki_int/issue/api-server" {
  capabilities = ["update"]
}

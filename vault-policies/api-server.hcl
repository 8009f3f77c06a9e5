# The API server seals and opens access tokens by itself, with keys that Vault makes and rotates. Nothing
# here leads to the database.

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

# The fingerprints of those keys, by which their destruction is certified. No update: what is certified
# is the key that was.
path "secret/data/popvote/fingerprints/*" {
  capabilities = ["create", "read"]
}

# What the verification board's keys are made with. Gateways compute them alike, and only read it.
path "secret/data/popvote/verification" {
  capabilities = ["create", "read"]
}

# What one-time codes are authenticated with.
path "secret/data/popvote/codes" {
  capabilities = ["create", "read"]
}

# What proof-of-work challenges are signed with.
path "secret/data/popvote/challenges" {
  capabilities = ["create", "read"]
}

# The secret of the human check's site key, where an operator has put one.
path "secret/data/popvote/human-check" {
  capabilities = ["read"]
}

# Its certificate for mutual TLS with the ballot server. The private key is made in the program, and
# Vault never has it.
path "pki_int/sign/api-server" {
  capabilities = ["update"]
}

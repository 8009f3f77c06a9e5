# A person who rotates and retires token keys. They can neither export a key nor seal or open a token.

# Which versions there are, and since when.
path "transit/keys/popvote-token" {
  capabilities = ["read"]
}

# A new version, now instead of at its time.
path "transit/keys/popvote-token/rotate" {
  capabilities = ["update"]
}

# How often it rotates by itself, and from which version on it still opens.
path "transit/keys/popvote-token/config" {
  capabilities = ["update"]
}

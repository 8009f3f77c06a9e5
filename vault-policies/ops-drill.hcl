# Whoever holds a drill on Vault: makes another server the active one, or seals it. No secrets.

# Another server takes over.
path "sys/step-down" {
  capabilities = ["update", "sudo"]
}

# The drill in which Vault is sealed. Unsealing takes the keyholders.
path "sys/seal" {
  capabilities = ["update", "sudo"]
}

# Which server is the active one.
path "sys/leader" {
  capabilities = ["read"]
}

# A cloud's Redis, which holds nothing that may not be lost.

# Its certificate for mutual TLS, written by Nomad's template, which takes the private key from Vault too.
path "pki_int/issue/redis" {
  capabilities = ["update"]
}

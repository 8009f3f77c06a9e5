# The control panel shows and commands. It can neither seal nor open a token, and reads no database.

# When each version of the token key was made, to show the age of the ring; not the keys.
path "transit/keys/popvote-token" {
  capabilities = ["read"]
}

# Its certificate for mutual TLS with the ballot server, whose Admin interface takes no other's, and with the SMS
# gateways, whose reports are for no other.
path "pki_int/sign/control-panel" {
  capabilities = ["update"]
}

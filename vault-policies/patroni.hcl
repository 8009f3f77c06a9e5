# The database's machines, outside of Nomad.

# The certificate that the database servers show to ballot servers and to each other.
path "pki_int/issue/popvote-db" {
  capabilities = ["update"]
}

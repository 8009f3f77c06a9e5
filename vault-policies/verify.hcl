# The job that checks the public log and the results again and again, as anybody can.

# Its certificate for mutual TLS with the ballot server's Reader.
path "pki_int/sign/verify" {
  capabilities = ["update"]
}

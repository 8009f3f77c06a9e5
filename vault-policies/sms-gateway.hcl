# The SMS gateway sees phone numbers and texts, and neither tokens nor identities nor ballots.

# What the verification board's keys are made with: gateway and API server must compute them alike. The
# API server makes it.
path "secret/data/popvote/verification" {
  capabilities = ["read"]
}

# The accounts with SMS providers, and what their webhooks are signed with.
path "secret/data/popvote/sms-providers" {
  capabilities = ["read"]
}

# Its certificate for mutual TLS.
path "pki_int/sign/sms-gateway" {
  capabilities = ["update"]
}

#!/usr/bin/env bash
# Vault: sealed until the key holders have come.
set -euo pipefail

install -o root -g vault -m 0640 "$STAGED/files/vault.d/vault.hcl" /etc/vault.d/vault.hcl
# Both must be there on every server, or the next active one answers nobody. /srv/audit is for a volume of its own.
install -d -o vault -g vault -m 0700 /var/log/vault /srv/audit
install -m 0644 "$STAGED/files/etc/logrotate-vault" /etc/logrotate.d/vault

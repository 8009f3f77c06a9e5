#!/usr/bin/env bash
# Consul: an agent on every machine, a server on the servers.
set -euo pipefail

put() { install -o root -g consul -m 0640 "$STAGED/files/consul.d/$1" "/etc/consul.d/$1"; }

put consul.hcl
if [[ $IMAGE == server ]]; then
  put server.hcl
fi

#!/usr/bin/env bash
# Nomad: a server, or a client that runs jobs. A client is root, as control groups, mounts and namespaces want it.
set -euo pipefail

put() { install -o root -g nomad -m 0640 "$STAGED/files/nomad.d/$1" "/etc/nomad.d/$1"; }

put nomad.hcl
put "$NOMAD.hcl"
if [[ $NOMAD == client ]]; then
  chown root:root /var/lib/nomad
  install -D -m 0644 "$STAGED/files/systemd/nomad-client.conf" /etc/systemd/system/nomad.service.d/client.conf
fi
if [[ $IMAGE == edge ]]; then
  put edge.hcl
fi
# Jobs start it, on the ports and with the certificates that they choose.
if [[ -e /lib/systemd/system/redis-server.service ]]; then
  systemctl disable redis-server.service
  systemctl mask redis-server.service
fi

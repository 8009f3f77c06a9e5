#!/usr/bin/env bash
# HAProxy: the program only. jobs/haproxy.nomad.hcl starts it with what it renders; the service of the package never runs.
set -euo pipefail

install -m 0644 "$STAGED/files/haproxy/haproxy.cfg" /etc/haproxy/haproxy.cfg
haproxy -c -q -f /etc/haproxy/haproxy.cfg
systemctl disable haproxy.service
systemctl mask haproxy.service

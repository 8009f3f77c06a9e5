#!/usr/bin/env bash
# PostgreSQL under Patroni.
set -euo pipefail

# Only Patroni starts and stops a server.
systemctl disable postgresql.service
systemctl mask postgresql.service

# The package's templates are another cluster's.
rm -f /etc/patroni/config.yml.in /etc/patroni/dcs.yml
install -d -o root -g postgres -m 0750 /etc/patroni
install -o root -g postgres -m 0640 "$STAGED/files/patroni/patroni.yml" /etc/patroni/patroni.yml.in
install -d -o postgres -g postgres -m 0700 /etc/patroni/tls /var/lib/postgresql/15/popvote
install -D -m 0644 "$STAGED/files/systemd/patroni.conf" /etc/systemd/system/patroni.service.d/popvote.conf
systemctl enable patroni.service

# A primary whose Patroni stands still is reset before another one is made.
echo softdog >/etc/modules-load.d/softdog.conf
# Debian's kernels refuse it by name.
rm -f /lib/modprobe.d/blacklist_watchdog_softdog.conf
echo 'KERNEL=="watchdog", OWNER="postgres", GROUP="postgres", MODE="0600"' >/etc/udev/rules.d/60-watchdog.rules

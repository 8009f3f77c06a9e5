#!/usr/bin/env bash
# Takes out what belongs to this machine and not to the image: after it nobody can log in any more.
set -euo pipefail

# A machine makes its own at its first start.
rm -f /etc/ssh/ssh_host_*
# Of the package ssl-cert: one private key for all machines, which nothing uses.
rm -f /etc/ssl/private/ssl-cert-snakeoil.key /etc/ssl/certs/ssl-cert-snakeoil.pem
find -L /etc/ssl/certs -maxdepth 1 -type l -delete
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id /var/lib/systemd/random-seed
if command -v cloud-init >/dev/null; then
  cloud-init clean --logs --seed
fi

# Whoever built the image isn't let into what is made of it.
while IFS=: read -r name _ uid _ _ home _; do
  rm -rf "$home/.ssh" "$home/.bash_history" "$home/.ansible"
  if ((uid >= 1000 && uid < 60000)); then
    passwd --lock "$name" >/dev/null
  fi
done < <(getent passwd | awk -F: '$6 ~ "^/(root|home/)"')

apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old
find /var/log -type f -exec truncate --size 0 {} +
find /tmp /var/tmp -mindepth 1 -maxdepth 1 ! -path "$STAGED" -exec rm -rf {} +
rm -f /usr/sbin/policy-rc.d

#!/usr/bin/env bash
# Debian as of today, and what every machine has.
set -euo pipefail

# Nothing starts while an image is made: a service that ran once has left state.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 0755 /usr/sbin/policy-rc.d
# No cluster of Debian's own; Patroni makes the one there is.
install -d /etc/postgresql-common
echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf

apt-get update -qq
apt-get dist-upgrade -qq -y -o Dpkg::Options::=--force-confold >/dev/null
mapfile -t everywhere < <(grep -v '^#' "$STAGED/images/all.packages")
# shellcheck disable=SC2086 # PACKAGES is a list
apt-get install -qq -y --no-install-recommends -o Dpkg::Options::=--force-confold "${everywhere[@]}" $PACKAGES >/dev/null

systemctl enable chrony.service nftables.service ssh.service systemd-resolved.service

# Consul answers for .consul, and nobody else is asked.
install -D -m 0644 "$STAGED/files/etc/resolved-consul.conf" /etc/systemd/resolved.conf.d/consul.conf

# What a node makes of itself at each start, from what cloud-init brought.
install -d -m 0755 /etc/popvote
install -d -m 0700 /etc/popvote/secret
install -m 0755 "$STAGED/files/sbin/popvote-node" /usr/local/sbin/popvote-node
install -m 0644 "$STAGED/files/systemd/popvote-node.service" /etc/systemd/system/popvote-node.service
systemctl enable popvote-node.service
cat >/etc/popvote/image <<END
IMAGE=$IMAGE
REVISION=$REVISION
END

#!/usr/bin/env bash
# What holds on every machine, whatever runs on it.
set -euo pipefail

# Keys, never passwords; nobody as root.
install -m 0600 "$STAGED/files/etc/sshd.conf" /etc/ssh/sshd_config.d/00-popvote.conf

# Nothing comes in that isn't written here.
install -d -m 0755 /etc/nftables.d
install -m 0644 "$STAGED/files/nftables/nftables.conf" /etc/nftables.conf
install -m 0644 "$STAGED/files/nftables/$IMAGE.nft" "/etc/nftables.d/$IMAGE.nft"

install -m 0644 "$STAGED/files/sysctl.d/popvote.conf" /etc/sysctl.d/90-popvote.conf
if [[ -e $STAGED/files/sysctl.d/$IMAGE.conf ]]; then
  install -m 0644 "$STAGED/files/sysctl.d/$IMAGE.conf" "/etc/sysctl.d/91-$IMAGE.conf"
fi
install -m 0644 "$STAGED/files/etc/limits.conf" /etc/security/limits.d/90-popvote.conf
install -D -m 0644 "$STAGED/files/etc/coredump.conf" /etc/systemd/coredump.conf.d/popvote.conf

# Token keys are in memory and must never be on a disk.
sed -i '/^[^#].*\sswap\s/d' /etc/fstab

# An image is replaced, never changed: no update comes by itself, in the middle of a vote, on all machines at once.
apt-get purge -qq -y unattended-upgrades >/dev/null 2>&1 || true
for timer in apt-daily.timer apt-daily-upgrade.timer; do
  systemctl mask "$timer"
done

passwd --lock root >/dev/null

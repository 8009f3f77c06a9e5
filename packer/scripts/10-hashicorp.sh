#!/usr/bin/env bash
# Consul, Nomad and Vault of the release, by its checksums.
set -euo pipefail

cd "$STAGED/release"
# Each must be listed: --ignore-missing alone would take a list that names none of them.
for program in $PROGRAMS; do
  grep -qE "^[0-9a-f]{64} [ *]$program\$" SHA256SUMS || { echo "10-hashicorp: SHA256SUMS is without $program" >&2; exit 1; }
done
sha256sum --check --strict --quiet --ignore-missing SHA256SUMS

for program in $PROGRAMS; do
  install -o root -g root -m 0755 "$program" "/usr/local/bin/$program"
  if ! getent passwd "$program" >/dev/null; then
    useradd --system --user-group --home-dir "/var/lib/$program" --shell /usr/sbin/nologin "$program"
  fi
  install -d -o root -g "$program" -m 0750 "/etc/$program.d"
  install -d -o "$program" -g "$program" -m 0700 "/var/lib/$program" "/etc/$program.d/tls"
  install -m 0644 "$STAGED/files/systemd/$program.service" "/etc/systemd/system/$program.service"
  systemctl enable "$program.service"
  # Kept beside it, so that a machine can say what it runs, and prove it.
  grep -E " [ *]$program\$" SHA256SUMS | sed "s, [ *]$program\$,  /usr/local/bin/$program," >>/etc/popvote/SHA256SUMS
done
cat VERSIONS >>/etc/popvote/image

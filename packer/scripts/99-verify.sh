#!/usr/bin/env bash
# 99-verify.sh: whether this root is the image: every line of verify/all.list and verify/IMAGE.list, and no
# secret. All that is wrong is said, not only the first. In a running machine, live values count as well.
set -euo pipefail

here=$(dirname "$0")
# In /proc is this machine's; a root without an init of its own has the builder's there.
live() { [[ -d /run/systemd/system && $(readlink /proc/1/root 2>/dev/null) == / ]]; }

checks=0 wrong=0
no() {
  echo "99-verify: $*" >&2
  wrong=$((wrong + 1))
}

sshd_says=
assert() { # WORD ARGUMENTS…
  local word=$1
  shift
  case $word in
  file) # MODE OWNER:GROUP PATH: is there, with these
    local is
    is=$(stat -c '0%a %U:%G' "$3" 2>/dev/null) || { no "$3 is missing"; return; }
    [[ $is == "$1 $2" ]] || no "$3 is $is, and must be $1 $2"
    ;;
  absent) # PATH
    [[ ! -e $1 && ! -L $1 ]] || no "$1 is there"
    ;;
  empty) # PATH: a directory with nothing in it, or a file with no byte
    if [[ -d $1 ]]; then
      [[ -z $(ls -A "$1") ]] || no "$1 is not empty"
    else
      [[ -e $1 && ! -s $1 ]] || no "$1 is no empty file"
    fi
    ;;
  says) # PATH PATTERN: a line of it matches; . stands for a space
    grep -qE -- "$2" "$1" 2>/dev/null || no "$1 doesn't say $2"
    ;;
  sums) # PATH: what it lists has these checksums
    sha256sum --check --strict --quiet "$1" || no "a program is not the release's"
    ;;
  runs) # COMMAND…: ends well
    local said
    said=$(cd / && eval "$*" 2>&1) || no "$* fails: ${said//$'\n'/ | }"
    ;;
  user) # NAME: a system account that nobody can use
    local shell uid
    IFS=: read -r _ _ uid _ _ _ shell < <(getent passwd "$1") || { no "there is no user $1"; return; }
    [[ $uid -lt 1000 && $shell == */nologin ]] || no "$1 has uid $uid and shell $shell"
    ;;
  locked) # NAME: no password opens it
    [[ $(getent shadow "$1" | cut -d: -f2) == [*!]* ]] || no "$1 is not locked"
    ;;
  nopassword) # nobody has one
    local name
    while IFS= read -r name; do
      no "$name has a password"
    done < <(getent shadow | awk -F: '$2 == "" || $2 ~ /^\$/ {print $1}')
    ;;
  enabled | masked) # UNIT
    [[ $(systemctl is-enabled "$1" 2>/dev/null) == "$word" ]] || no "$1 is $(systemctl is-enabled "$1" 2>&1 || true), and must be $word"
    ;;
  sshd) # KEY VALUE: as sshd itself understands its files
    if [[ -z $sshd_says ]]; then
      local key
      key=$(mktemp -d)
      ssh-keygen -q -t ed25519 -N '' -f "$key/host"
      install -d -m 0755 /run/sshd
      sshd_says=$(/usr/sbin/sshd -T -h "$key/host" 2>&1) || no "sshd: $sshd_says"
      rm -r "$key"
    fi
    grep -qx "$1 $2" <<<"$sshd_says" || no "sshd has $(grep "^$1 " <<<"$sshd_says" || echo "no $1"), and must have $2"
    ;;
  sysctl) # NAME VALUE: the last file that sets it wins
    local is
    is=$(cat /etc/sysctl.d/*.conf | sed -n "s/^$1 *= *//p" | tail -1)
    [[ $is == "$2" ]] || no "sysctl $1 is set to ${is:-nothing}, and must be $2"
    if live; then
      sysctl -q --system >/dev/null 2>&1 || true
      is=$(sysctl -n "$1" 2>&1)
      [[ $is == "$2" ]] || no "sysctl $1 is $is here, and must be $2"
    fi
    ;;
  noswap)
    ! grep -qE '^[^#].*\sswap\s' /etc/fstab 2>/dev/null || no "there is swap in /etc/fstab"
    ;;
  nopackage) # NAME
    [[ $(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) != 'install ok installed' ]] || no "the package $1 is installed"
    ;;
  *) no "$word is no assertion" ;;
  esac
}

for list in "$here/../verify/all.list" "$here/../verify/$IMAGE.list"; do
  [[ -s $list ]] || { no "$list is missing or empty"; continue; }
  while IFS= read -r line; do
    [[ -z $line || $line == '#'* ]] && continue
    checks=$((checks + 1))
    read -ra words <<<"$line"
    assert "${words[@]}"
  done <"$list"
done

bash "$here/secrets" / || wrong=$((wrong + 1))

if ((wrong > 0)); then
  echo "99-verify: $wrong of $checks assertions are wrong" >&2
  exit 1
fi
echo "99-verify: $checks assertions hold"

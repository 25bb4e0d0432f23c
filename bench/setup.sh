#!/bin/sh
# Installs the peers of the benchmark, if they are missing: nginx with nchan by apt, as root or with
# sudo, and Flask and gevent in cargo's target folder. Reports and skips peers that cannot be
# installed: the benchmark runs with the others.

set -eu
cd "$(dirname "$0")/.."

has() { command -v "$1" >/dev/null; }
say() { echo "setup: $*" >&2; }

as_root() {
  if [ "$(id -u)" = 0 ]; then
    DEBIAN_FRONTEND=noninteractive "$@"
  else
    sudo --non-interactive env DEBIAN_FRONTEND=noninteractive "$@"
  fi
}

# Never removes an installed package.
apt_install() {
  as_root apt-get -qq -o Dpkg::Use-Pty=0 --yes --no-install-recommends --no-remove install "$@" >&2
}

# Prints the missing Debian packages. Each line checks for one of them.
missing() {
  has nginx || echo nginx-light
  ls /usr/lib*/nginx/modules/ngx_nchan_module.so >/dev/null 2>&1 || echo libnginx-mod-nchan
  python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  has perf || has strace || echo strace
}

# Package names contain no spaces.
# shellcheck disable=SC2046
set -- $(missing)
if [ $# -gt 0 ]; then
  if ! has apt-get; then
    say "apt-get not found: install $* yourself"
  elif ! as_root true 2>/dev/null; then
    say "neither root nor sudo without a password: run apt-get install $* yourself"
  else
    say "installing $*"
    as_root apt-get -qq update >&2 || say 'cannot update the package lists'
    for package; do
      apt_install "$package" || say "cannot install $package"
    done
  fi
fi

# The load generator looks for the packages here.
metadata=$(cargo metadata --locked --no-deps --format-version 1)
folder=$(echo "$metadata" | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/bench
pins=bench/peers/flask/requirements.txt
if ! cmp -s "$pins" "$folder/requirements.done" ||
  ! "$folder/venv/bin/python" -c 'import flask, gevent' 2>/dev/null; then
  say "installing the packages in $pins"
  mkdir -p "$folder"
  if python3 -m venv --clear "$folder/venv" >&2 &&
    "$folder/venv/bin/pip" --quiet --disable-pip-version-check install -r "$pins" >&2; then
    cp "$pins" "$folder/requirements.done"
  else
    say 'SKIPPED: flask'
  fi
fi

# nginx as a service would use CPU that the measured servers need.
if has systemctl && systemctl is-active --quiet nginx 2>/dev/null; then
  say 'nginx is running as a service: stop it for accurate figures'
fi

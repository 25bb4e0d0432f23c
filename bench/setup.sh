#!/bin/sh
# Installs what the benchmark measures against, where it is missing: nginx with nchan by apt, as
# root or with sudo; Flask and gevent in cargo's target folder. What cannot be had is named and
# left out: the benchmark runs with the rest.

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

# Nothing that is installed goes away for it.
apt_install() {
  as_root apt-get -qq -o Dpkg::Use-Pty=0 --yes --no-install-recommends --no-remove install "$@" >&2
}

# What is missing of Debian's: package by package, each with the proof that it is there.
missing() {
  has nginx || echo nginx-light
  ls /usr/lib*/nginx/modules/ngx_nchan_module.so >/dev/null 2>&1 || echo libnginx-mod-nchan
  python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  has perf || has strace || echo strace
}

# Names of packages, without spaces.
# shellcheck disable=SC2046
set -- $(missing)
if [ $# -gt 0 ]; then
  if ! has apt-get; then
    say "there is no apt-get here: please install $* by hand"
  elif ! as_root true 2>/dev/null; then
    say "neither root nor sudo without a password: please run apt-get install $*"
  else
    say "installing $*"
    as_root apt-get -qq update >&2 || say 'no new lists of packages'
    for package; do
      apt_install "$package" || say "cannot install $package"
    done
  fi
fi

# Where the harness looks.
metadata=$(cargo metadata --locked --no-deps --format-version 1)
folder=$(echo "$metadata" | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/bench
pins=bench/peers/flask/requirements.txt
if ! cmp -s "$pins" "$folder/requirements.done" ||
  ! "$folder/venv/bin/python" -c 'import flask, gevent' 2>/dev/null; then
  say "installing what $pins pins"
  mkdir -p "$folder"
  if python3 -m venv --clear "$folder/venv" >&2 &&
    "$folder/venv/bin/pip" --quiet --disable-pip-version-check install -r "$pins" >&2; then
    cp "$pins" "$folder/requirements.done"
  else
    say 'LEFT OUT: flask'
  fi
fi

# One that was started by its package's own script would take cores from those measured.
if has systemctl && systemctl is-active --quiet nginx 2>/dev/null; then
  say 'nginx runs as a service beside the benchmark: stop it for quiet figures'
fi

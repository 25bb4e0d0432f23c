#!/bin/sh
# Runs the script on stdin with bash on a machine of its own: this one's files, with every change
# kept in memory; its own processes; a network of loopback alone, on which example.com is itself.
# Nothing remains but what goes to the project's target folder. Needs root.
#
#   machine.sh PROJECT TARGET <script

set -eu

if [ "${MACHINE_IS_OPEN:-}" != yes ]; then
  # All its processes end with it.
  export MACHINE_IS_OPEN=yes
  exec unshare --mount --pid --net --ipc --uts --fork --kill-child --propagation private "$0" "$@"
fi
unset MACHINE_IS_OPEN
project=$1 target=$2 root=/mnt/root

mount -t tmpfs -o mode=0755 machine /mnt
mkdir /mnt/changes /mnt/work $root
mount -t overlay -o "lowerdir=/,upperdir=/mnt/changes,workdir=/mnt/work" machine $root
mount -t proc proc $root/proc
mount --rbind /dev $root/dev
# As after a boot.
mount -t tmpfs -o mode=0755 run $root/run
mkdir -m 1777 $root/run/lock
mount -t tmpfs -o mode=1777 tmp $root/tmp
# Folders that this machine keeps elsewhere than on its root, and the one that is to stay.
for folder in "$project" "${CARGO_HOME:-$HOME/.cargo}" "${RUSTUP_HOME:-$HOME/.rustup}"; do
  [ "$(stat -c %d "$folder")" = "$(stat -c %d /)" ] || {
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
  }
done
mkdir -p "$root$target"
mount --bind "$target" "$root$target"

ip link set lo up
hostname machine
echo '127.0.0.1 localhost machine example.com' >$root/etc/hosts
cat >$root/tmp/script
# Packages that are here are not renewed: there is no network to renew them from.
echo 'APT::Get::Upgrade "false";' >$root/etc/apt/apt.conf.d/99machine
exec chroot $root env -C "$project" bash -eu /tmp/script </dev/null

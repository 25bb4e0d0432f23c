#!/bin/sh
# Runs the script on stdin with bash on an isolated machine: the host's files, with every change kept
# in memory; separate processes; only a loopback network, on which example.com is the machine itself.
# Only files in the project's target folder remain. Needs root.
#
#   machine.sh bash|systemd PROJECT TARGET <script
#
# The first process is bash, which ends with the script, or systemd, whose only service at first is the
# script. After MACHINE_SECONDS (default 1800) everything is killed. The script's output is printed at
# the end in every case. The exit code is the script's, or 137 after a timeout.

set -eu
umask 022 # as after a boot, because other users run programs here

if [ "${MACHINE_OUTPUT:-}" = '' ]; then
  MACHINE_OUTPUT=$(mktemp)
  export MACHINE_OUTPUT
  trap 'cat "$MACHINE_OUTPUT"; rm -f "$MACHINE_OUTPUT"' EXIT
  trap 'exit 143' HUP INT TERM
  code=0
  # All its processes end with it. SIGKILL, because unshare ignores SIGTERM.
  timeout --signal KILL "${MACHINE_SECONDS:-1800}" unshare --mount --pid --net --ipc --uts --cgroup --fork --kill-child \
    --propagation private "$0" "$@" || code=$?
  [ $code != 137 ] || echo "machine.sh: killed, after ${MACHINE_SECONDS:-1800} s or from outside" >&2
  exit $code
fi
init=$1 project=$2 target=$3 root=/mnt/root

mount -t tmpfs -o mode=0755 machine /mnt
mkdir /mnt/changes /mnt/work $root
mount -t overlay -o "lowerdir=/,upperdir=/mnt/changes,workdir=/mnt/work" machine $root
mount -t proc proc $root/proc
mount -t sysfs sysfs $root/sys
mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
mount -t tmpfs -o mode=0755 dev $root/dev
for device in null:3 zero:5 full:7 random:8 urandom:9; do
  mknod -m 0666 "$root/dev/${device%:*}" c 1 "${device#*:}"
done
mknod -m 0666 $root/dev/tty c 5 0
mkdir $root/dev/pts $root/dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 pts $root/dev/pts
ln -s pts/ptmx $root/dev/ptmx
ln -s /proc/self/fd $root/dev/fd
ln -s /proc/self/fd/0 $root/dev/stdin
ln -s /proc/self/fd/1 $root/dev/stdout
ln -s /proc/self/fd/2 $root/dev/stderr
# Empty folders, as after a boot.
mount -t tmpfs -o mode=0755 run $root/run
mkdir -m 1777 $root/run/lock
mount -t tmpfs -o mode=1777 tmp $root/tmp
case $project/ in
  /tmp/*) # systemd empties it at its start, except for mounts
    mkdir -p "$root$project" /mnt/project /mnt/project-work
    mount -t overlay -o "lowerdir=$project,upperdir=/mnt/project,workdir=/mnt/project-work" \
      project "$root$project"
    ;;
esac
# Folders on other file systems than the root, and the target folder. Rust may be installed without
# rustup.
for folder in "$project" "${CARGO_HOME:-$HOME/.cargo}" "${RUSTUP_HOME:-$HOME/.rustup}"; do
  [ ! -d "$folder" ] || [ "$(stat -c %d "$folder")" = "$(stat -c %d /)" ] || {
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
  }
done
mkdir -p "$root$target"
mount --bind "$target" "$root$target"

ip link set lo up
hostname machine
echo machine >$root/etc/hostname
echo '127.0.0.1 localhost machine example.com' >$root/etc/hosts
# Installed packages are not updated, because there is no network.
echo 'APT::Get::Upgrade "false";' >$root/etc/apt/apt.conf.d/99machine
# Services may start here.
rm -f $root/usr/sbin/policy-rc.d
cat >$root/run/script
touch $root/run/output
mount --bind "$MACHINE_OUTPUT" $root/run/output
unset MACHINE_OUTPUT

if [ "$init" = systemd ]; then
  cat >$root/etc/systemd/system/machine.service <<EOF
[Unit]
DefaultDependencies=no
SuccessAction=exit
FailureAction=exit

[Service]
Type=oneshot
WorkingDirectory=$project
Environment="PATH=$PATH" "HOME=$HOME"
ExecStart=bash -eu /run/script
StandardOutput=append:/run/output
StandardError=append:/run/output
EOF
  set -- /lib/systemd/systemd --unit=machine.service --log-target=null --show-status=no
  exec >/dev/null 2>&1
else
  set -- env -C "$project" bash -eu /run/script
  exec >>$root/run/output 2>&1
fi
# Not chroot alone, because user namespaces cannot be opened in it.
cd $root
pivot_root . mnt
exec env container=machine chroot . sh -c 'umount -l /mnt && exec "$@"' sh "$@" </dev/null

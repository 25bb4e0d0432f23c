#!/bin/sh
# Runs the script on stdin with bash on a machine of its own: this one's files, with every change
# kept in memory; its own processes; a network of loopback alone, on which example.com is itself.
# Nothing remains but what goes to the project's target folder. Needs root.
#
#   machine.sh bash|systemd PROJECT TARGET <script
#
# The first process is bash, for as long as the script runs, or systemd, of which the script is
# the only service at first. After MACHINE_SECONDS (1800) all of it is killed. What the script says
# is told at the end, however it ends; the exit code is the script's, or 137 when time ran out.

set -eu

if [ "${MACHINE_SAYS:-}" = '' ]; then
  MACHINE_SAYS=$(mktemp)
  export MACHINE_SAYS
  trap 'cat "$MACHINE_SAYS"; rm -f "$MACHINE_SAYS"' EXIT
  trap 'exit 143' HUP INT TERM
  code=0
  # All its processes end with it. And SIGKILL, since unshare ignores SIGTERM.
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
# As after a boot.
mount -t tmpfs -o mode=0755 run $root/run
mkdir -m 1777 $root/run/lock
mount -t tmpfs -o mode=1777 tmp $root/tmp
case $project/ in
  /tmp/*) # which systemd empties at its start, but for what is mounted there
    mkdir -p "$root$project" /mnt/project /mnt/project-work
    mount -t overlay -o "lowerdir=$project,upperdir=/mnt/project,workdir=/mnt/project-work" \
      project "$root$project"
    ;;
esac
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
echo machine >$root/etc/hostname
echo '127.0.0.1 localhost machine example.com' >$root/etc/hosts
# Packages that are here are not renewed: there is no network to renew them from.
echo 'APT::Get::Upgrade "false";' >$root/etc/apt/apt.conf.d/99machine
# Here services may start.
rm -f $root/usr/sbin/policy-rc.d
cat >$root/run/script
touch $root/run/said
mount --bind "$MACHINE_SAYS" $root/run/said
unset MACHINE_SAYS

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
StandardOutput=append:/run/said
StandardError=append:/run/said
EOF
  set -- /lib/systemd/systemd --unit=machine.service --log-target=null --show-status=no
  exec >/dev/null 2>&1
else
  set -- env -C "$project" bash -eu /run/script
  exec >>$root/run/said 2>&1
fi
# And not chroot alone, in which no namespaces of users can be opened.
cd $root
pivot_root . mnt
exec env container=machine chroot . sh -c 'umount -l /mnt && exec "$@"' sh "$@" </dev/null

#!/bin/sh
# Builds a Debian package out of `make install`: target/rollcast_<version>_<architecture>.deb, and
# says so. Needs dpkg-deb and nothing else. The environment may name another PROGRAM or OUT (the
# folder).

set -eu
cd "$(dirname "$0")/../.."
umask 022

program=${PROGRAM:-target/release/rollcast}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
out=${OUT:-target}
architecture=$(dpkg --print-architecture)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
chmod 0755 "$stage"

# Not with what a `make` that runs this has been told.
env -u MAKEFLAGS -u MAKELEVEL make -s install OS=Linux PREFIX=/usr DESTDIR="$stage" \
  PROGRAM="$program" >&2
# dpkg itself keeps an edited configuration and shows what is new.
rm "$stage/etc/rollcast/Rocket.toml.sample"
doc=$stage/usr/share/doc/rollcast
install -d "$doc"
cat LICENSE-MIT LICENSE-APACHE >"$doc/copyright"
mv "$stage/usr/share/examples/rollcast" "$doc/examples"
rmdir "$stage/usr/share/examples"

# The oldest C library that has all the program asks for, by the versions it names.
libc=$(grep -ao 'GLIBC_2\.[0-9]*' "$program" | sort -t . -k 2 -n | tail -n 1)

install -d "$stage/DEBIAN"
echo /etc/rollcast/Rocket.toml >"$stage/DEBIAN/conffiles"
for script in postinst prerm postrm; do
  install -m 0755 "deploy/debian/$script" "$stage/DEBIAN/$script"
done
cat >"$stage/DEBIAN/control" <<EOF
Package: rollcast
Version: $version
Architecture: $architecture
Maintainer: the rollcast authors <root@localhost>
Installed-Size: $(du -sk "$stage" | cut -f 1)
Depends: adduser, libc6 (>= ${libc#GLIBC_}), libgcc-s1
Recommends: nginx
Section: web
Priority: optional
Description: dice over server-sent events
 Rolls dice on a clock, keeps every roll in SQLite, and pushes it to every open
 browser over server-sent events. Configured in /etc/rollcast/Rocket.toml; data
 is in /var/lib/rollcast, which no removal touches; files for nginx and
 supervisord are in /usr/share/doc/rollcast/examples.
EOF
package=$out/rollcast_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$stage" "$package" >&2
echo "$package"

#!/bin/sh
# Builds a Debian package from `make install` and prints its path:
# target/rollcast_<version>_<architecture>.deb. Needs only dpkg-deb.
#
# Environment: PROGRAM is the binary to package, OUT is the output folder.

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

# Without the flags of a `make` that runs this script.
env -u MAKEFLAGS -u MAKELEVEL make -s install OS=Linux PREFIX=/usr DESTDIR="$stage" \
  PROGRAM="$program" >&2
# No sample: dpkg itself keeps an edited configuration and stores the new one beside it.
rm "$stage/etc/rollcast/Rocket.toml.sample"
doc=$stage/usr/share/doc/rollcast
install -d "$doc"
cat LICENSE-MIT LICENSE-APACHE >"$doc/copyright"
mv "$stage/usr/share/examples/rollcast" "$doc/examples"
rmdir "$stage/usr/share/examples"

# The oldest C library with every symbol version that the program uses.
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
Description: dice over Server-Sent Events
 Rolls dice on a clock, stores every roll in SQLite, and pushes it to every open
 browser over Server-Sent Events. The configuration is
 /etc/rollcast/Rocket.toml. The data is in /var/lib/rollcast and is never
 removed. Examples for nginx and supervisord are in
 /usr/share/doc/rollcast/examples.
EOF
package=$out/rollcast_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$stage" "$package" >&2
echo "$package"

#!/bin/sh
# Builds a Debian package from `make install` and prints its path:
# target/rollcast_<version>_<architecture>.deb. Needs only dpkg-deb, and strip, which comes with the C
# compiler.
#
# Environment: PROGRAM is the binary to package, OUT is the output folder. DEBFULLNAME and DEBEMAIL are
# the contact of the package, as for Debian's own tools.

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
mv "$stage/usr/share/examples/rollcast" "$doc/examples"
rmdir "$stage/usr/share/examples"
{
  cat <<EOF
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: rollcast

Files: *
Copyright: 2026 the rollcast authors
License: Expat or Apache-2.0

License: Apache-2.0
 On Debian systems, the full text of the Apache License, version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.

License: Expat
EOF
  sed -e '1,2d' -e 's/^$/./' -e 's/^/ /' LICENSE-MIT
} >"$doc/copyright"
contact="${DEBFULLNAME:-the rollcast authors} <${DEBEMAIL:-rollcast@packages.invalid}>"
released=$(sed -n "s/^## \\[$version\\] - //p" CHANGELOG.md)
cat >"$doc/changelog" <<EOF
rollcast ($version) unstable; urgency=medium

  * CHANGELOG.md.gz in this folder lists the changes.

 -- $contact  $(LC_ALL=C date --utc --rfc-email --date "$released")
EOF
cp CHANGELOG.md "$doc/CHANGELOG.md"
# Without the time, so that two builds of one program give the same files.
gzip -9n "$doc/changelog" "$doc/CHANGELOG.md" "$stage"/usr/share/man/man1/*
strip --strip-unneeded --remove-section=.comment "$stage/usr/bin/rollcast"

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
Maintainer: $contact
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
(cd "$stage" && find usr -type f -exec md5sum {} + | sort -k 2 >DEBIAN/md5sums)
package=$out/rollcast_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$stage" "$package" >&2
echo "$package"

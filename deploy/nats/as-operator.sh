#!/bin/sh
# Runs a rollcast command as the user `operator` of the NATS servers. Run it as root, with the file of
# that user's password:
#
#   as-operator.sh operator.password fleet create

set -eu
umask 077

[ $# -gt 1 ] || { echo "usage: $0 PASSWORD-FILE COMMAND ..." >&2; exit 2; }
# rollcast's user must read the file, and nobody else.
password=$(mktemp)
trap 'rm -f "$password"' EXIT
cat "$1" >"$password"
chown rollcast "$password"
shift
sudo -u rollcast env "ROCKET_ROLLCAST={fleet={user=\"operator\",password_file=\"$password\"}}" rollcast "$@"

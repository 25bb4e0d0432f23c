#!/bin/sh
# Makes the certificates of a NATS cluster in the working folder, with openssl:
#
#   certificates.sh n1=10.0.0.1 n2=10.0.0.2 n3=10.0.0.3
#
# ca.pem and ca.key are the authority. n1.pem and n1.key are for the machine n1. The script uses an
# existing authority again, for example to add a machine or to renew a certificate. All certificates
# are valid for ten years. Do not copy ca.key to the machines: anyone who has it can join the cluster.

set -eu
umask 077

[ $# -gt 0 ] || { echo "usage: $0 NAME=ADDRESS ..." >&2; exit 2; }

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

if [ ! -e ca.key ]; then
  new_key ca.key
  openssl req -x509 -new -key ca.key -out ca.pem -days 3650 -subj '/CN=rollcast NATS' \
    -addext 'basicConstraints=critical,CA:true,pathlen:0' -addext 'keyUsage=critical,keyCertSign'
fi
for machine; do
  name=${machine%%=*} address=${machine#*=}
  case $address in
    *[!0-9.:a-fA-F]*) kind=DNS ;;
    *) kind=IP ;;
  esac
  new_key "$name.key"
  openssl req -new -key "$name.key" -out "$name.csr" -subj "/CN=$name"
  # Nodes and other servers check the certificate, as that of a server and as that of a client.
  printf '%s\n' "subjectAltName=$kind:$address" 'basicConstraints=critical,CA:false' \
    'keyUsage=critical,digitalSignature' 'extendedKeyUsage=serverAuth,clientAuth' >"$name.ext"
  openssl x509 -req -in "$name.csr" -CA ca.pem -CAkey ca.key -days 3650 -extfile "$name.ext" \
    -set_serial "0x$(openssl rand -hex 16)" -out "$name.pem"
  rm "$name.csr" "$name.ext"
done

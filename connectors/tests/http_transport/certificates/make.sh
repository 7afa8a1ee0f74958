#!/usr/bin/env bash
# Makes the certificates that the tests use: valid from 2020 to 2120, with keys that protect nothing.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
touch "$work/index"
cat >"$work/ca.conf" <<END
[ca]
default_ca = test
[test]
database = $work/index
new_certs_dir = $work
rand_serial = yes
default_md = sha256
policy = any
[any]
commonName = supplied
END
key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1.key"; }
authority() {
  key "$1"
  openssl req -x509 -new -key "$1.key" -days 36500 -subj "/CN=highwater test $1" -out "$1.pem" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
}
signed() { # name, authority, extended usage
  key "$1"
  openssl req -new -key "$1.key" -subj "/CN=$1" -out "$work/request"
  printf '%s\n' basicConstraints=critical,CA:FALSE "extendedKeyUsage=$3" "subjectAltName=DNS:localhost,IP:127.0.0.1" >"$work/usage"
  openssl ca -batch -config "$work/ca.conf" -cert "$2.pem" -keyfile "$2.key" -in "$work/request" -notext -out "$1.pem" \
    -extfile "$work/usage" -startdate 20200101000000Z -enddate 21200101000000Z
}
authority authority
authority others
signed first authority serverAuth
signed second authority serverAuth
signed client authority clientAuth
signed stranger others clientAuth
openssl pkey -in first.key -aes256 -passout pass:secret -out locked.key
rm authority.key others.key

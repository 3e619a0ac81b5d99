#!/usr/bin/env bash
# Makes a certificate authority and, signed by it, a coordinator's and clients' certificates for TLS (EC P-256); or, with
# --enrolment, clients' certificates for secure aggregation (Ed25519), by which they know each other.
#
# Usage: scripts/make_certs.sh DIR [--server HOST]... [--client NAME]... [--days N] [--enrolment]
#   DIR            the folder that holds ca.crt and ca.key, and NAME.crt and NAME.key for each certificate
#   --server HOST  a name or address of the coordinator, besides localhost, 127.0.0.1 and ::1, that server.crt is for
#   --client NAME  a client: the certificate's common name and DNS name are NAME, and it speaks for NAME/0, NAME/1, …
#   --days N       how long the certificates are good for (default 825; the authority: ten years)
#   --enrolment    Ed25519 keys, and none for a coordinator. Whoever keeps this ca.key must not run the coordinator
#
# What is in DIR already and still good is kept, so that clients can be added later; a certificate that ends within a
# week, or lacks a HOST, is made anew (name all HOSTs again then). Keep ca.key off the coordinator and the clients. Needs OpenSSL 3.
#
# Examples:
#   scripts/make_certs.sh runs/certs --server fl.example.org --client hospital-a --client hospital-b
#   fedpeft-server serve run.yaml --state runs/state --listen 0.0.0.0:8443 \
#     --tls-cert runs/certs/server.crt --tls-key runs/certs/server.key --client-ca runs/certs/ca.crt
#   fedpeft-client join --server fl.example.org:8443 --tls-ca runs/certs/ca.crt \
#     --tls-cert runs/certs/hospital-a.crt --tls-key runs/certs/hospital-a.key …
#   scripts/make_certs.sh runs/enrolment --enrolment --client hospital-a --client hospital-b
#   fedpeft-client join … --name hospital-a --policy policy.yaml \
#     --enrolment-cert runs/enrolment/hospital-a.crt --enrolment-key runs/enrolment/hospital-a.key
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

DIR=
HOSTS=(localhost 127.0.0.1 ::1)
CLIENTS=()
DAYS=825
ENROLMENT=false

parse_arguments() {
  while (($#)); do
    case $1 in
      --server | --client | --days)
        option_value "$1" $#
        case $1 in
          --server) HOSTS+=("$2") ;;
          --client) CLIENTS+=("$2") ;;
          --days) DAYS=$2 ;;
        esac
        shift
        ;;
      --enrolment) ENROLMENT=true ;;
      -h | --help) usage && exit ;;
      -*) die "$1: unknown option (see --help)" ;;
      *)
        [[ -z $DIR ]] || die "$1: got a second folder, want one (see --help)"
        DIR=$1
        ;;
    esac
    shift
  done
  [[ -n $DIR ]] || die "no folder given (see --help)"
  [[ $DAYS =~ ^[1-9][0-9]*$ ]] || die "--days: got $DAYS, want a number from 1 on"
}

# check_names: names go into file names and certificates, so they are plain; "/" separates virtual clients.
check_names() {
  local name
  for name in "${CLIENTS[@]}"; do
    [[ $name =~ ^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$ ]] ||
      die "--client: got '$name', want 1 to 63 letters, digits, '.', '_' or '-'"
    [[ $name != ca && $name != server ]] || die "--client: got '$name', which names another certificate"
  done
  for name in "${HOSTS[@]}"; do
    [[ $name =~ ^[A-Za-z0-9.:*-]+$ ]] || die "--server: got '$name', want a host name or an address without port"
  done
}

# alternative_name HOST: HOST as OpenSSL writes it in subjectAltName.
alternative_name() {
  if [[ $1 =~ ^[0-9.]+$ || $1 == *:* ]]; then printf 'IP:%s' "$1"; else printf 'DNS:%s' "$1"; fi
}

new_key() {
  local -a kind=(EC -pkeyopt ec_paramgen_curve:P-256)
  if $ENROLMENT; then kind=(ED25519); fi
  openssl genpkey -algorithm "${kind[@]}" -out "$1"
}

make_authority() {
  if openssl x509 -in "$DIR/ca.crt" -noout -checkend 604800 >/dev/null 2>&1 && [[ -s $DIR/ca.key ]]; then return 0; fi
  [[ ! -e $DIR/ca.crt ]] || die "$DIR/ca.crt: has ended or has no ca.key (make a new folder: a new authority voids every certificate)"
  say "certificates: new authority $DIR/ca.crt"
  new_key "$DIR/ca.key"
  openssl req -x509 -new -key "$DIR/ca.key" -sha256 -days 3650 -subj "/CN=fedpeft CA" -out "$DIR/ca.crt" \
    -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign
}

# is_good NAME HOST...: NAME.crt is ours, has its key, does not end within a week and is good for every HOST.
is_good() {
  local certificate=$DIR/$1.crt host kind
  [[ -s $DIR/$1.key ]] || return 1
  openssl verify -CAfile "$DIR/ca.crt" "$certificate" >/dev/null 2>&1 || return 1
  openssl x509 -in "$certificate" -noout -checkend 604800 >/dev/null || return 1
  shift
  for host in "$@"; do
    kind=-checkhost
    [[ $(alternative_name "$host") != IP:* ]] || kind=-checkip
    openssl x509 -in "$certificate" -noout "$kind" "$host" | grep -q 'does match' || return 1
  done
}

# make_certificate NAME PURPOSE HOST...: NAME.key and NAME.crt, PURPOSE being serverAuth or clientAuth.
make_certificate() {
  local name=$1 purpose=$2 names='' host
  shift 2
  if is_good "$name" "$@"; then return 0; fi
  for host in "$@"; do names+=${names:+,}$(alternative_name "$host"); done
  say "certificates: new $DIR/$name.crt for $names"
  new_key "$DIR/$name.key"
  openssl req -new -key "$DIR/$name.key" -subj "/CN=$name" |
    openssl x509 -req -CA "$DIR/ca.crt" -CAkey "$DIR/ca.key" -sha256 -days "$DAYS" \
      -set_serial "0x$(openssl rand -hex 16)" -out "$DIR/$name.crt" -extfile <(printf '%s\n' \
        "basicConstraints=critical,CA:FALSE" "keyUsage=critical,digitalSignature" "extendedKeyUsage=$purpose" \
        "authorityKeyIdentifier=keyid" "subjectAltName=$names") 2>/dev/null ||
    die "$DIR/$name.crt: OpenSSL could not sign it (does ca.key belong to ca.crt?)"
}

main() {
  parse_arguments "$@"
  check_names
  need openssl
  umask 077 # keys are for their owner alone; certificates are opened to all below
  mkdir -p "$DIR"
  make_authority
  if ! $ENROLMENT; then make_certificate server serverAuth "${HOSTS[@]}"; fi
  local name
  for name in "${CLIENTS[@]}"; do make_certificate "$name" clientAuth "$name"; done
  chmod 644 "$DIR"/*.crt
  chmod 600 "$DIR"/*.key
}

main "$@"

#!/bin/sh
# Installs what the tests need beyond Rust, where it is missing: Debian packages with apt, as root
# or with sudo; pinned packages for Node and Python in cargo's target folder. A suite whose needs
# cannot be met is left out; with CI=true that is a failure.
#
# Says what it does on stderr. The one line on stdout names the cargo features of the suites that
# can run, such as `browser,clients`.

set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin # nginx, for who is not root

# What each part needs, by words that `works` and `packages` explain.
building='cargo c make'
browser='chromium chromedriver node npm'
clients='curl sqlite3 node npm python'
doctor='nginx'
deploy='nginx supervisord systemd-analyze shellcheck bmake curl openssl'
machine="$deploy ip dpkg-deb sudo cron namespaces"

# Whether a need is met.
works() {
  case $1 in
    c) echo '#include <stdlib.h>' | cc -x c -c -o /dev/null - ;;
    node) node --eval 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' ;;
    namespaces) echo true | tests/deploy/machine.sh systemd "$PWD" "$PWD/tests" ;;
    python) python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' ;;
    *) command -v "$1" ;;
  esac >/dev/null 2>&1
}

# Those of the needs that are not met.
missing() {
  for need; do works "$need" || echo "$need"; done
}

# The Debian packages for what is missing, as far as they would help: they renew no Node that is
# too old, and an npm belongs to its Node, also where that one came from elsewhere.
packages() {
  for need; do
    case $need in
      cargo) ;; # Debian's is too old
      namespaces) ;; # the machine's to give
      dpkg-deb) ;; # everywhere where packages are of use
      ip) echo iproute2 ;;
      supervisord) echo supervisor ;;
      systemd-analyze) echo systemd ;;
      c) echo gcc libc6-dev ;;
      chromedriver) echo chromium-driver ;;
      node) has node || echo nodejs ;;
      npm) comes_from_elsewhere node || echo npm ;;
      python) comes_from_elsewhere python3 || echo python3 python3-venv ;;
      *) echo "$need" ;;
    esac
  done
}

has() { command -v "$1" >/dev/null; }

comes_from_elsewhere() {
  has "$1" && ! dpkg --search "$(readlink -f "$(command -v "$1")")" >/dev/null 2>&1
}

# Nothing that is installed goes away for it.
apt_install() {
  as_root apt-get -qq -o Dpkg::Use-Pty=0 --yes --no-install-recommends --no-remove install "$@" >&2
}

# The tests start servers of their own; those that come with packages stay down.
# https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt
start_no_services() {
  policy=/usr/sbin/policy-rc.d
  [ ! -e $policy ] || return 0
  trap 'as_root rm -f $policy' EXIT
  printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
  as_root chmod 0755 $policy
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    DEBIAN_FRONTEND=noninteractive "$@"
  else
    sudo --non-interactive env DEBIAN_FRONTEND=noninteractive "$@"
  fi
}

install_debian_packages() {
  if ! has apt-get; then
    say "there is no apt-get here: please install $* by hand"
  elif ! as_root true 2>/dev/null; then
    say "neither root nor sudo without a password: please run apt-get install $*"
  else
    say "installing $*"
    as_root apt-get -qq update >&2 || say 'no new lists of packages'
    start_no_services
    # One by one, where not all are to be had.
    apt_install "$@" || for package; do
      apt_install "$package" || say "cannot install $package"
    done
  fi
}

# The packages that a file of ours pins, unless that has been done.
install_pinned() {
  pins=$1 done=$folder/$(basename "$1").done
  cmp -s "$pins" "$done" && return
  say "installing what $pins pins"
  rm -f "$done"
  mkdir -p "$folder"
  "$2" "$pins" >&2 && cp "$pins" "$done"
}

node_packages() {
  cp "${1%/*}/package.json" "$1" "$folder" &&
    npm --prefix "$folder" --ignore-scripts --no-audit --no-fund ci
}

python_packages() {
  python3 -m venv --clear "$folder/venv" &&
    "$folder/venv/bin/pip" --quiet --disable-pip-version-check install --require-hashes -r "$1"
}

# Needs as people call them, on one line.
in_words() {
  for need; do
    case $need in
      c) echo 'a C compiler' ;;
      node) echo 'Node 18 or newer' ;;
      python) echo 'Python 3.11 or newer with venv' ;;
      namespaces) echo 'a root that may open namespaces' ;;
      *) echo "$need" ;;
    esac
  done | paste -s -d , | sed 's/,/, /g'
}

say() { echo "setup: $*" >&2; }

# Every word here is one of ours, without spaces.
# shellcheck disable=SC2086,SC2046
{
  wanted=$(packages $(missing $building $browser $clients $doctor $machine))
  [ -z "$wanted" ] || install_debian_packages $wanted
  without_building=$(in_words $(missing $building))
  without_browser=$(in_words $(missing $browser))
  without_clients=$(in_words $(missing $clients))
  without_doctor=$(in_words $(missing $doctor))
  without_deploy=$(in_words $(missing $deploy))
  without_machine=$(in_words $(missing $machine))
}

if [ -n "$without_building" ]; then
  say "nothing can be built or tested for want of $without_building"
  exit 1
fi

# Where the tests look for packages: cargo's CARGO_TARGET_TMPDIR.
metadata=$(cargo metadata --locked --no-deps --format-version 1)
tmpdir=$(echo "$metadata" | sed 's/.*"build_directory":"\([^"]*\)".*/\1/')/tmp

if [ -z "$without_browser" ]; then
  folder=$tmpdir/browser
  install_pinned tests/browser/package-lock.json node_packages ||
    without_browser="the packages in tests/browser/package-lock.json"
fi

if [ -z "$without_clients" ]; then
  folder=$tmpdir/clients
  install_pinned tests/clients/package-lock.json node_packages ||
    without_clients="the packages in tests/clients/package-lock.json"
  # An upgrade of Python leaves its packages behind.
  "$folder/venv/bin/python" -c 'import httpx_sse, numpy, schemathesis, scipy, sseclient, urllib3' 2>/dev/null ||
    rm -f "$folder/requirements.txt.done"
  install_pinned tests/clients/requirements.txt python_packages ||
    without_clients="the packages in tests/clients/requirements.txt"
fi

# The guide is walked without network, and builds with features that no test does.
[ -n "$without_machine" ] || cargo fetch --locked --quiet >&2 ||
  without_machine='the crates in Cargo.lock'

features=
for suite in browser clients doctor deploy machine; do
  case $suite in
    browser) without=$without_browser ;;
    clients) without=$without_clients ;;
    doctor) without=$without_doctor ;;
    deploy) without=$without_deploy ;;
    machine) without=$without_machine ;;
  esac
  if [ -z "$without" ]; then
    features=${features:+$features,}$suite
  else
    say "LEFT OUT: the suite \`$suite\`, for want of $without"
    [ "${CI:-}" != true ] || exit 1
  fi
done
echo "$features"

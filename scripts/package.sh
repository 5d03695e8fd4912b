#!/bin/sh
# Packages every crate as it would be published; `scripts/package.sh --verify` builds each package as well.
set -eu
cd "$(dirname "$0")/.."
verify=--no-verify
[ "${1-}" != --verify ] || verify=
cargo package --workspace --quiet --allow-dirty $verify

#!/usr/bin/env bash
# Runs the kernel of the LSTM that is written in WGSL (tests/wgsl) on Vulkan. Where there is no device for it, Debian's
# Vulkan in software is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

shopt -s nullglob
drivers=(/usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json)
if [ ${#drivers[@]} -eq 0 ] && command -v apt-get >/dev/null; then
    as_root=
    [ "$(id -u)" -eq 0 ] || as_root=sudo
    $as_root apt-get update --quiet
    $as_root apt-get install --quiet --yes --no-install-recommends libvulkan1 mesa-vulkan-drivers
fi

# The versions of the project.
cp Cargo.lock tests/wgsl/Cargo.lock
# Or Mesa complains.
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
cargo test --manifest-path tests/wgsl/Cargo.toml --release --quiet --test lstm -- "$@"

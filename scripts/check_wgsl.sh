#!/usr/bin/env bash
# Runs the kernel of the LSTM that is written in WGSL on Vulkan (tests/wgsl), and compares it with the original. Where
# there is no device for it, Debian's Vulkan in software is installed.
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

# Or Mesa complains.
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/tmp}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
cargo build --manifest-path tests/wgsl/Cargo.toml --quiet
export SOUNDALIKE_WGSL=$CARGO_TARGET_DIR/debug/lstm-on-vulkan
# With the features of the whole workspace, of which most is compiled already.
cargo test --workspace --release --quiet --features soundalike-selftest/wgsl --test lstm_kernel -- ${SOUNDALIKE_CAPTURES:+--include-ignored} "$@"

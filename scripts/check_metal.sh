#!/usr/bin/env bash
# What can be known of the engine for Metal without a Mac. Everything is type-checked and linted as a Mac would compile
# it; needs rustup, to whose toolchain it adds the standard library for Macs. And candle's code for Metal runs both
# networks (tests/metal) on a Metal that launches nothing, but refuses what has no kernel, or not what a kernel declares.
set -euo pipefail
cd "$(dirname "$0")/.."
target=aarch64-apple-darwin

command -v rustup >/dev/null || {
    echo "check_metal: no rustup here: it installs Rust's standard library for $target" >&2
    exit 1
}
rustup target add "$target"
# A dependency brings a few lines of assembly, for which this machine has no assembler and nobody a use.
export CC_aarch64_apple_darwin=true AR_aarch64_apple_darwin=true
cargo clippy --workspace --all-targets --features soundalike/metal --target "$target" --quiet -- -D warnings

# The versions of the project, without those that tests/metal has in place of them.
awk 'BEGIN { RS = ""; ORS = "\n\n" } !/name = "(block2|dispatch2|objc2[a-z-]*)"/' Cargo.lock >tests/metal/Cargo.lock
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
cargo test --manifest-path tests/metal/Cargo.toml --quiet --test ops -- ${SOUNDALIKE_CAPTURES:+--include-ignored}

#!/usr/bin/env bash
# Type-checks and lints everything with the engine for Metal, as a Mac would compile it, without a Mac. Needs rustup,
# of whose toolchain it adds the standard library for Macs. Nothing is linked or run.
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

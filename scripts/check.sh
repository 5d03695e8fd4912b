#!/bin/sh
# What to run before a commit: format, lints, unit tests and documentation. No Python, no captures.
set -eu
cd "$(dirname "$0")/.."
cargo fmt --all --check
cargo clippy --workspace --all-targets --quiet -- -D warnings
cargo test --workspace --lib --bins --quiet
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

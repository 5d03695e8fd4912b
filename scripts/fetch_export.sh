#!/bin/sh
# Fetches the official ONNX export of segmentation-3.0 and checks its SHA-256:
#
#   scripts/fetch_export.sh FILE
#
# The crate `diarization` carries it; cargo fetches that crate into a project made for the purpose.
set -eu
[ $# -eq 1 ] || {
    echo "usage: scripts/fetch_export.sh FILE" >&2
    exit 2
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/src"
: >"$work/src/lib.rs"
cat >"$work/Cargo.toml" <<'END'
[package]
name = "export"
version = "0.0.0"
edition = "2024"

[dependencies]
diarization = { version = "=0.1.0", default-features = false }

[workspace]
END
manifest=$(cargo metadata --quiet --format-version 1 --manifest-path "$work/Cargo.toml" |
    grep -o '"manifest_path":"[^"]*diarization-0\.1\.0/Cargo\.toml"' | head -n 1 | cut -d '"' -f 4)
cp "${manifest%/Cargo.toml}/models/segmentation-3.0.onnx" "$1"
echo "057ee564753071c0b09b5b611648b50ac188d50846bff5f01e9f7bbf1591ea25  $1" | sha256sum --check --quiet

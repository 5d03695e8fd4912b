#!/bin/sh
# Makes the embedded model, crates/weights/segmentation-3.0.safetensors, again from the official ONNX export, and fails where
# it differs from the committed file:
#
#   scripts/rebuild_weights.sh             compares
#   scripts/rebuild_weights.sh --replace   writes it, after a change of the bundle's format
set -eu
cd "$(dirname "$0")/.."
committed=crates/weights/segmentation-3.0.safetensors
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

scripts/fetch_export.sh "$work/segmentation-3.0.onnx"
cargo run --quiet --release -p soundalike -- convert "$work/segmentation-3.0.onnx" -o "$work/bundle" >/dev/null
if [ "${1-}" = --replace ]; then
    cp "$work/bundle" "$committed"
elif ! cmp "$work/bundle" "$committed"; then
    echo "$committed is not what \`convert\` makes of the official export; --replace writes it" >&2
    exit 1
else
    echo "$committed is the official export, converted"
fi

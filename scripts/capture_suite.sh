#!/bin/sh
# Runs the official pyannote.audio on the embedded model and hard input (silence, padding, an offset, clipping, a
# low level), and on networks of other hyperparameters with random weights, and keeps every stage, for the tests to
# compare with:
#
#   scripts/capture_suite.sh DIRECTORY
#   SOUNDALIKE_CAPTURES=DIRECTORY cargo test --workspace --release
#
# Installs the official package first (scripts/setup_reference.sh). DIRECTORY takes 450 MB.
set -eu
[ $# -eq 1 ] || {
    echo "usage: scripts/capture_suite.sh DIRECTORY" >&2
    exit 2
}
mkdir -p "$1"
directory=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
scripts/setup_reference.sh

# The export that crates/weights embeds, as cargo resolved it.
export=$(cargo metadata --format-version 1 | reference/.venv/bin/python -c '
import json, pathlib, sys
packages = json.load(sys.stdin)["packages"]
manifest = next(p["manifest_path"] for p in packages if p["name"] == "diarization")
print(pathlib.Path(manifest).parent / "models" / "segmentation-3.0.onnx")')
cargo run --quiet --release -p soundalike -- convert "$export" -o "$directory/segmentation-3.0.safetensors" >/dev/null
reference/.venv/bin/python reference/capture.py "$directory/segmentation-3.0.safetensors" tests/data/sample.wav \
    --name segmentation-3.0 --start 5 --suite "$directory"

reference/.venv/bin/python reference/make_variants.py "$directory/variants" --pyannet >/dev/null
for checkpoint in "$directory"/variants/*.ckpt; do
    # No round number of frames, and another length than the network was made for.
    reference/.venv/bin/python reference/capture.py "$checkpoint" tests/data/sample.wav \
        --start 12.9 --duration 1.2345 -o "${checkpoint%.ckpt}.npz"
done

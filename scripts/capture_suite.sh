#!/bin/sh
# Runs the official pyannote.audio on the embedded model and hard input (silence, padding, an offset, clipping, a
# low level), and on networks of other hyperparameters with random weights, embeddings included, and keeps every
# stage, for the tests to compare with:
#
#   scripts/capture_suite.sh DIRECTORY
#   SOUNDALIKE_CAPTURES=DIRECTORY cargo test --workspace --release
#
# Installs the official package first (scripts/setup_reference.sh). DIRECTORY takes 1.1 GB.
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

# Embeddings: three speakers, a silent one and one of a single frame, the whole window.
embeddings="$directory/wespeaker"
networks="traced-34 traced-34-16-mels traced-152-8-mels traced-221-8-mels traced-293-8-mels"
mkdir -p "$embeddings"
reference/.venv/bin/python reference/make_variants.py "$embeddings" $networks >/dev/null
reference/.venv/bin/python - "$embeddings" <<'END'
import sys

import numpy as np

speakers, edges = np.zeros((1, 3, 35), np.float32), np.zeros((1, 2, 35), np.float32)
speakers[0, 0, 3:20] = speakers[0, 1, 15:31] = speakers[0, 2, [0, 1, 2, 3, 4, 26, 27, 30]] = 1
edges[0, 1, 13] = 1
np.savez(f"{sys.argv[1]}/speakers.npz", weights=speakers)
np.savez(f"{sys.argv[1]}/edges.npz", weights=edges)
END
embedding() { # NETWORK TRACE [OPTION...]
    network=$1 trace=$2
    shift 2
    mkdir -p "$embeddings/$network"
    reference/.venv/bin/python reference/capture.py "$embeddings/$network.ckpt" tests/data/sample.wav \
        --start 12.9 --duration 0.6 --stored -o "$embeddings/$network/$trace.npz" "$@"
}
for network in $networks; do
    embedding "$network" speakers --masks "$embeddings/speakers.npz"
done
embedding traced-34 edges --masks "$embeddings/edges.npz"
embedding traced-34 whole

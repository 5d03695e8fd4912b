#!/bin/sh
# Runs the official pyannote.audio on the embedded model and hard input (silence, padding, an offset, clipping, a
# low level), and on networks of other hyperparameters with random weights, embeddings included, and keeps every
# stage; runs whole pipelines with random embeddings; and writes their networks in formats of other projects. The tests
# compare with all of it:
#
#   scripts/capture_suite.sh DIRECTORY
#   SOUNDALIKE_CAPTURES=DIRECTORY cargo test --workspace --release -- --ignored captures::
#
# Installs the official package first (scripts/setup_reference.sh). DIRECTORY takes 1.4 GB.
set -eu
[ $# -eq 1 ] || {
    echo "usage: scripts/capture_suite.sh DIRECTORY" >&2
    exit 2
}
mkdir -p "$1"
directory=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
scripts/setup_reference.sh

cp crates/weights/segmentation-3.0.safetensors "$directory"
scripts/fetch_export.sh "$directory/segmentation-3.0.onnx"
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

# Whole pipelines, with the clustering of community-1 and of 3.1. Without trimming, malloc takes half of the time.
export MALLOC_TRIM_THRESHOLD_=-1 MALLOC_MMAP_THRESHOLD_=4294967296
pipelines="$directory/pipelines"
reference/.venv/bin/python reference/make_pipeline.py "$pipelines"
exports="$directory/exports"
reference/.venv/bin/python reference/make_exports.py "$pipelines/vbx" "$exports"
reference/.venv/bin/python reference/capture.py "$pipelines/vbx/segmentation/pytorch_model.bin" tests/data/sample.wav \
    --start 12.9 --duration 1.2345 -o "$exports/segmentation.npz"
reference/.venv/bin/python reference/capture.py "$pipelines/vbx/embedding/pytorch_model.bin" tests/data/sample.wav \
    --start 12.9 --duration 0.6 --stored --masks "$embeddings/speakers.npz" -o "$exports/embedding.npz"
for pipeline in vbx agglomerative; do
    reference/.venv/bin/python reference/run_pipeline.py "$pipelines/$pipeline" tests/data/sample.wav \
        -o "$pipelines/$pipeline/expected"
done

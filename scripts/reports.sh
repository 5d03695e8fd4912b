#!/bin/sh
# Writes reports/ anew: what `soundalike compare` says, against libtorch, of the two networks as they are, of the mistake
# of a public port that took its 88.6 % of correlation for rounding, and of itself. (reports/performance.md is written by
# scripts/bench_peers.py, reports/precision.md by scripts/precision.py: both take a while.)
#
#   scripts/reports.sh [--engines] [WESPEAKER [PIPELINE RUN...]]
#
# --engines: only reports/engines/, of every engine that runs without a GPU.
#
# The recording is the sample of the official package, 30 s of real speech, which scripts/setup_reference.sh installs.
# WESPEAKER is a checkpoint of a speaker embedding; without it, one with random weights is made. PIPELINE is a directory
# with a config.yaml, and each RUN one with what the official package gave there, stage by stage; without them, what is
# said of mistakes after the networks stays as it is.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
engines_only=
[ "${1:-}" != --engines ] || { engines_only=yes && shift; }
case ${1:-} in '' | /*) wespeaker=${1:-} ;; *) wespeaker=$root/$1 ;; esac
eval "$(scripts/setup_libtorch.sh)"
cargo build --quiet --release --workspace --features soundalike/torch
soundalike=$root/target/release/soundalike

# The reports name files as they lie here.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sample=$(reference/.venv/bin/python -c 'from importlib.metadata import files
print(next(file.locate() for file in files("pyannote.audio") if file.match("audio/sample/sample.wav")))')
cp "$sample" "$work"
if [ -z "$wespeaker" ]; then
    reference/.venv/bin/python reference/make_variants.py "$work" traced-34 >/dev/null
    wespeaker=$work/traced-34.ckpt
fi
ln -s "$wespeaker" "$work/wespeaker-resnet34.ckpt" 2>/dev/null || true
[ $# -eq 0 ] || shift
pipeline=$(basename "${1:-}") captured=
for path; do
    ln -s "$(realpath "$path")" "$work"
    name=$(basename "$path")
    [ "$name" = "$pipeline" ] || captured="$captured $name"
done
mkdir -p reports
cd "$work"

"$root/reference/.venv/bin/python" "$root/scripts/engines.py" "$soundalike" sample.wav wespeaker-resnet34.ckpt engines
mkdir -p "$root/reports/engines"
cp engines/* "$root/reports/engines"
[ -z "$engines_only" ] || exit 0

# compare EXIT_CODE OUTPUT [OPTION...]
compare() {
    expected=$1 output=$2 code=0
    shift 2
    "$soundalike" compare "$@" -o "$output" || code=$?
    [ "$code" -eq "$expected" ] || {
        echo "reports.sh: compare $* exited with $code, expected $expected" >&2
        exit 1
    }
}

# all_formats EXIT_CODE NAME [OPTION...]
all_formats() {
    expected=$1 name=$2
    shift 2
    for format in markdown html json; do
        extension=$(echo "$format" | sed s/markdown/md/)
        compare "$expected" "$name.$extension" "$@" --format "$format"
        cp "$name.$extension" "$root/reports"
    done
}

all_formats 0 segmentation-3.0 --reference torch --audio sample.wav --windows all
all_formats 0 wespeaker-resnet34 --reference torch --model wespeaker-resnet34.ckpt --audio sample.wav

# What the comparison itself is worth: every known fault put in.
"$soundalike" self-test --format markdown -o self-test.md
"$soundalike" self-test --reference torch --model wespeaker-resnet34.ckpt --audio sample.wav \
    --format markdown -o self-test-wespeaker.md
cp self-test.md self-test-wespeaker.md "$root/reports"
if [ "$captured" ]; then
    # shellcheck disable=SC2086
    "$soundalike" self-test --model "$pipeline" --run $captured --format markdown -o self-test-pipeline.md
    cp self-test-pipeline.md "$root/reports"
fi

# The case of the 88.6 %.
case="--reference torch --audio sample.wav --windows all --inject relu-for-leaky-relu --budget"
for format in json markdown html; do
    # shellcheck disable=SC2086
    compare 3 "case.$format" $case --format "$format"
done
cp case.html "$root/reports/the-88.6-percent.html"
"$root/reference/.venv/bin/python" "$root/scripts/the_case.py" case.json case.markdown >"$root/reports/the-88.6-percent.md"

#!/bin/sh
# Writes reports/ anew: what `soundalike compare` prints on the built-in trace, as the network is and with the
# mistake of a public port that took its 88.6 % of correlation for rounding.
set -eu
cd "$(dirname "$0")/.."
cargo build --quiet --release -p soundalike
mkdir -p reports

# report NAME EXIT_CODE [OPTION...]
report() {
    name=$1 expected=$2
    shift 2
    code=0
    target/release/soundalike compare --layers "$@" --format markdown -o reports/body.md || code=$?
    [ "$code" -eq "$expected" ] || {
        echo "reports.sh: compare --layers $* exited with $code, expected $expected" >&2
        exit 1
    }
    {
        echo "\`soundalike compare --layers $*\` ($(target/release/soundalike --version), exit code $code)"
        echo "on $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1 || uname -m), $(getconf _NPROCESSORS_ONLN) threads"
        echo
        cat reports/body.md
    } >"reports/$name.md"
    rm reports/body.md
}

report segmentation-3.0 0
report relu-for-leaky-relu 3 --inject relu-for-leaky-relu

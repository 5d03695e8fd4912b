#!/bin/sh
# Makes tests/data/sample.wav (30 s, 16 kHz, two synthetic speakers) and tests/data/sample.rttm (who spoke when).
#
# Both files are committed, so nobody needs this script to use or test the project. The same versions of the
# synthesizers give the same bytes.
#
#     scripts/make_sample.sh [OUTPUT_DIRECTORY]
set -eu

scripts=$(cd "$(dirname "$0")" && pwd)
out=${1:-$scripts/../tests/data}

need() {
    command -v "$1" >/dev/null 2>&1 || {
        echo "make_sample.sh: $1 not found; on Debian: apt-get install $2" >&2
        exit 1
    }
}
need espeak-ng espeak-ng
need flite flite
need python3 python3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# say SPEAKER GAP LEVEL TEXT [PITCH]: the next line of the conversation. What GAP and LEVEL mean: make_sample.py;
# PITCH is the mean fundamental frequency of B in Hz.
# A is espeak-ng's female variant 3, B the flite voice awb.
line=0
say() {
    line=$((line + 1))
    wav=$(printf '%02d.wav' "$line")
    case $1 in
    A) espeak-ng -v en-us+f3 -w "$work/$wav" "$4" ;;
    B) flite -voice awb ${5:+--setf "int_f0_target_mean=$5"} -t "$4" -o "$work/$wav" ;;
    esac
    echo "$wav $1 $2 $3" >>"$work/cues"
}

say A 0.00 -24 "Good morning and thank you for coming to the studio"
# The laugh is high and falls on A's words: segmentation-3.0 gives it a slot of its own, never alone, so that the
# first 10 s already show five of its seven classes. B is still one voice; the truth says so.
say B -0.7 -22 "Ha ha ha" 264
say B 0.20 -23 "Thank you it is good to be here again"
say A 0.35 -24 "Last time we talked about the port of a network that was almost right"
say B -1.3 -23 "Yes and almost right was the whole problem"
say A 0.50 -24 "Every layer looked perfect when it was checked by hand"
say B 0.30 -23 "Because the check had the very same mistake in it"
say A -1.2 -24 "So how do you tell a bug from rounding"
say B 0.50 -23 "You measure how much the original itself is rounding and you compare with that"
say A 0.35 -24 "And then the layer that made the error stands out"
say B 0.35 -23 "It does and usually it is a single line of code"
say A 0.40 -24 "Thank you for the talk"

mkdir -p "$out"
python3 "$scripts/make_sample.py" "$work/cues" "$out/sample.wav" "$out/sample.rttm"

#!/usr/bin/env bash
# Compares the activations $CANDIDATE with the original; the exit code is that of `soundalike compare`: 3 where a limit is
# not kept. $REFERENCE, $MODEL, $MAP and $GATE may be empty. The report goes to $REPORT.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
(cd "$root" && cargo build --quiet --release --workspace --bin soundalike)
arguments=(--candidate "trace:$CANDIDATE")
[ -z "${REFERENCE:-}" ] || arguments+=(--reference "trace:$REFERENCE")
[ -z "${MODEL:-}" ] || arguments+=(--model "$MODEL")
[ -z "${MAP:-}" ] || arguments+=(--map "$MAP")
[ -z "${GATE:-}" ] || arguments+=(--gate "$GATE")
"$root/target/release/soundalike" compare "${arguments[@]}" --format html -o "${REPORT:-soundalike.html}" --github

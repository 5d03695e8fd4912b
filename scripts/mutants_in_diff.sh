#!/bin/sh
# Mutates what a change touches, and runs the tests of its crates on each mutant: `mutants_in_diff.sh [BASE] [OPTION...]`.
# BASE is a commit, by default `main`. One build per mutant, so for small changes. `cargo install cargo-mutants --locked`.
set -eu
cd "$(dirname "$0")/.."
base=${1:-main}
[ $# -eq 0 ] || shift
diff=$(mktemp)
trap 'rm -f "$diff"' EXIT
git diff "$base" -- 'crates/*.rs' >"$diff"
cargo mutants --in-diff "$diff" --profile release --output target "$@"

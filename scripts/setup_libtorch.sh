#!/bin/sh
# Finds libtorch 2.13.0 for the cargo feature `torch`, and prints what to export:
#
#   eval "$(scripts/setup_libtorch.sh)"
#   cargo build --release --features torch
#
# LIBTORCH, where it is set, names a libtorch of that version (the folder that holds include/ and lib/). Otherwise it is
# the torch of reference/.venv, which scripts/setup_reference.sh makes, if need be, for the official package as well: engine
# and reference are then the same libraries. Exports go to stdout, words to stderr.
set -eu
cd "$(dirname "$0")/.."
wanted=2.13.0 # of tch 0.26, which refuses any other

die() {
    echo "setup_libtorch: $*" >&2
    exit 1
}

# For a shell, whatever is in the path.
quoted() { printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"; }

if [ -n "${LIBTORCH:-}" ]; then
    [ -d "$LIBTORCH/include" ] && [ -d "$LIBTORCH/lib" ] ||
        die "$LIBTORCH holds no libtorch (include/ and lib/): unset LIBTORCH to use reference/.venv instead"
    found=$(cat "$LIBTORCH/build-version" 2>/dev/null || echo "$wanted")
    [ "${found%%+*}" = "$wanted" ] || die "$LIBTORCH is libtorch $found, $wanted is needed"
    # torch-sys would prefer the other variable.
    printf 'unset LIBTORCH_USE_PYTORCH\nexport LIBTORCH=%s\n' "$(quoted "$(cd "$LIBTORCH" && pwd)")"
    exit
fi

scripts/setup_reference.sh >&2
bin=$PWD/reference/.venv/bin
found=$("$bin/python" -c 'import torch; print(torch.__version__)')
[ "${found%%+*}" = "$wanted" ] || die "reference/.venv has torch $found, $wanted is needed: remove it and run this again"
# torch-sys asks the first `python3` on the PATH where its torch is.
printf 'export LIBTORCH_USE_PYTORCH=1\nexport PATH=%s:"$PATH"\n' "$(quoted "$bin")"

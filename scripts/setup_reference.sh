#!/bin/sh
# Makes reference/.venv with the official pyannote.audio, from reference/requirements.txt. Does nothing if it is there.
#
#   scripts/setup_reference.sh           install (4 GB on disk, mostly torch's CUDA libraries, which it links to)
#   scripts/setup_reference.sh --lock    resolve requirements.txt anew and write reference/requirements.lock
#
# PYTHON names the interpreter (default python3; 3.11 or newer).
set -eu
cd "$(dirname "$0")/../reference"
python=${PYTHON:-python3}

die() {
    echo "setup_reference: $*" >&2
    exit 1
}

command -v "$python" >/dev/null || die "$python not found: install Python 3.11 or newer, or set PYTHON"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "$("$python" --version) is too old: 3.11 or newer is needed (set PYTHON)"

export PIP_DISABLE_PIP_VERSION_CHECK=1

if [ "${1:-}" = --lock ]; then
    report=$(mktemp)
    trap 'rm -f "$report"' EXIT
    "$python" -m pip install --quiet --dry-run --ignore-installed --report "$report" -r requirements.txt
    "$python" - "$report" >requirements.lock.new <<'PY'
import json, re, sys

print("# Everything requirements.txt brings along on Linux x86-64, without triton (torch's GPU compiler, 0.7 GB, unused")
print("# here). Complete, so it is installed with --no-deps and without a resolver. Made by scripts/setup_reference.sh --lock")
packages = {re.sub("[-_.]+", "-", i["metadata"]["name"]).lower(): i["metadata"]["version"]
            for i in json.load(open(sys.argv[1]))["install"]}
for name in sorted(packages.keys() - {"triton"}):
    print(f"{name}=={packages[name]}")
PY
    mv requirements.lock.new requirements.lock
    exit
fi

stamp=$(cat requirements.txt requirements.lock | "$python" -c \
    'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read() + sys.version.encode()).hexdigest())')
if [ -x .venv/bin/python ] && [ "$(cat .venv/stamp 2>/dev/null)" = "$stamp" ]; then
    exit
fi

rm -rf .venv
"$python" -m venv .venv || die "$python cannot make a virtual environment: install its venv module (Debian: python3-venv)"
# The lock holds for one platform; elsewhere pip resolves requirements.txt.
if [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] &&
    .venv/bin/python -m pip install --quiet --no-deps -r requirements.lock; then
    :
else
    echo "setup_reference: resolving requirements.txt instead of using the lock" >&2
    .venv/bin/python -m pip install --quiet -r requirements.txt
fi
.venv/bin/python -c 'import pyannote.audio' 2>/dev/null || die "pyannote.audio does not import; try: reference/.venv/bin/python -c 'import pyannote.audio'"
echo "$stamp" >.venv/stamp

#!/bin/sh
# Compares networks from package registries with their ports, and writes reports/any-network/. Options: those of
# scripts/any_network/__main__.py. The packages go into scripts/any_network/.venv, once; PYTHON is 3.10 or newer.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=$here/any_network/.venv
if [ ! -x "$venv/bin/python" ]; then
    "${PYTHON:-python3}" -m venv "$venv"
    echo '*' > "$venv/.gitignore"
    "$venv/bin/pip" install --quiet --requirement "$here/any_network/requirements.txt"
    # Its dependencies are an old TensorFlow; only its files are needed.
    "$venv/bin/pip" install --quiet --no-deps basic-pitch==0.4.0
    "$venv/bin/pip" install --quiet "$here/../crates/python"
fi
exec "$venv/bin/python" "$here/any_network" "$@"

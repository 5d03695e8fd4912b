#!/usr/bin/env bash
# Builds the wheel of the Python package, installs it in a new environment, and runs its tests, its README and mypy. PyTorch
# and ONNX Runtime are those of reference/.venv.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup_reference.sh
reference=$PWD/reference/.venv/bin/python
work=$PWD/target/python
site_packages() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
export PIP_DISABLE_PIP_VERSION_CHECK=1

if [ ! -x "$work/tools/bin/maturin" ]; then
    "$reference" -m venv "$work/tools"
    "$work/tools/bin/pip" install --quiet 'maturin>=1.9,<2'
fi
rm -rf "$work/wheels" "$work/venv"
"$work/tools/bin/maturin" build --quiet --release --manifest-path crates/python/Cargo.toml --out "$work/wheels"

python=$work/venv/bin/python
"$reference" -m venv "$work/venv"
site_packages "$reference" >"$(site_packages "$python")/reference.pth"
"$python" -m pip install --quiet "$(echo "$work"/wheels/*.whl)[torch,onnx]" mypy==2.4.1 onnxscript

# From another folder: what is imported is the wheel.
cd "$work"
"$python" -c 'import soundalike; print("soundalike", soundalike.__version__, "in", *soundalike.__path__)'
venv/bin/soundalike --help >/dev/null
cd - >/dev/null

cd crates/python
"$python" -m mypy --cache-dir "$work/mypy" python/soundalike
"$python" -m mypy.stubtest --mypy-config-file pyproject.toml soundalike._native
"$python" -m pytest --quiet -p no:cacheprovider "$@"

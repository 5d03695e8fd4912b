"""Converts checkpoints and checks every tensor, bit for bit, and every hyperparameter against the official package.

    python check_bundles.py CONVERTER CHECKPOINT...
    python check_bundles.py --golden CHECKPOINT...      tensors' SHA-256 as JSON, for the Rust tests

CONVERTER is the program `soundalike`, called as `soundalike convert CHECKPOINT -o BUNDLE`, or the
example `to_bundle` of the crate `convert`, called as `to_bundle CHECKPOINT BUNDLE`. A CHECKPOINT may also be a directory with
the two PLDA archives. Each is converted twice, and the two bundles have to be the same file. Checkpoints are read as
`soundalike compare --reference official` reads them. Exit status 1 if anything differs.
"""

import hashlib
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "crates" / "soundalike" / "src" / "commands" / "compare"))
import official  # first: it keeps the package from reporting its use

import numpy as np
import torch

DTYPES = {name: dtype for dtype, name in official.DTYPES.items()}
METADATA_KEY = "soundalike"


def plda(path):
    """Name to tensor in a directory with the two archives."""
    arrays = {}
    for file in ["plda.npz", "xvec_transform.npz"]:
        arrays.update(np.load(path / file))
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}


def read_bundle(path):
    """Tensors, and hyperparameters and specifications by their paths."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__")
    assert list(metadata) == [METADATA_KEY], f"metadata keys {list(metadata)}"
    tensors = {}
    for name, info in header.items():
        start, end = (8 + length + offset for offset in info["data_offsets"])
        tensors[name] = (DTYPES[info["dtype"]], tuple(info["shape"]), data[start:end])
    about = json.loads(metadata[METADATA_KEY])
    values = {"architecture": about["architecture"], **about["hyperparameters"], **(about["specifications"] or {})}
    return tensors, official.flat(values)


def convert(converter, source, target):
    flag = [] if Path(converter).name == "to_bundle" else ["convert"]
    output = [str(target)] if not flag else ["-o", str(target)]
    subprocess.run([converter, *flag, str(source), *output], check=True, stdout=subprocess.DEVNULL)


def check(converter, path):
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder) / "1.safetensors", Path(folder) / "2.safetensors"
        convert(converter, path, first)
        convert(converter, path, second)
        if first.read_bytes() != second.read_bytes():
            return ["two conversions differ"]
        found, values = read_bundle(first)
    if path.is_dir():
        return differing_tensors(found, plda(path))
    state, reading = official.read(path)
    return differing_tensors(found, state) + differing_values(values, reading["values"])


def differing_tensors(found, wanted):
    if sorted(found) != sorted(wanted):
        return [f"names differ: {sorted(set(found) ^ set(wanted))}"]
    wrong = []
    for name, tensor in wanted.items():
        dtype, shape, data = found[name]
        if (dtype, shape) != (tensor.dtype, tuple(tensor.shape)):
            wrong.append(f"{name}: {dtype} {shape}, expected {tensor.dtype} {tuple(tensor.shape)}")
        elif data != official.raw(tensor):
            wrong.append(f"{name}: elements differ")
    return wrong


def differing_values(found, wanted):
    names = sorted(set(found) | set(wanted))
    pairs = {name: (found.get(name), wanted.get(name)) for name in names}
    return [f"{name} is {ours}, expected {theirs}" for name, (ours, theirs) in pairs.items() if ours != theirs]


def golden(path):
    tensors = plda(path) if path.is_dir() else official.load(path)["state_dict"]
    return {
        name: [list(tensor.shape), str(tensor.dtype).removeprefix("torch."), hashlib.sha256(official.raw(tensor)).hexdigest()]
        for name, tensor in sorted(tensors.items())
    }


def main():
    first, *paths = sys.argv[1:]
    if first == "--golden":
        rows = {str(Path(*Path(path).parts[-2:])): golden(Path(path)) for path in paths}
        lines = []
        for file, tensors in rows.items():
            body = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in tensors.items())
            lines.append(f" {json.dumps(file)}: {{\n{body}\n }}")
        print("{\n" + ",\n".join(lines) + "\n}")
        return
    failed = False
    for path in map(Path, paths):
        problems = check(first, path)
        failed |= bool(problems)
        print(f"{path}: {'; '.join(problems) or 'bit-equal, with equal hyperparameters'}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()

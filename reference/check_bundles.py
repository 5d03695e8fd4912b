"""Converts checkpoints and checks every tensor bit for bit against what `torch.load` gives.

    python check_bundles.py CONVERTER CHECKPOINT...
    python check_bundles.py --golden CHECKPOINT...      tensors' SHA-256 as JSON, for the Rust tests

CONVERTER is the program `soundalike`, called as `soundalike convert CHECKPOINT -o BUNDLE`, or the
example `to_bundle` of the crate `convert`, called as `to_bundle CHECKPOINT BUNDLE`. A CHECKPOINT may also be a directory with the two PLDA archives. Each is
converted twice, and the two bundles have to be the same file. Exit status 1 if anything differs.
"""

import hashlib
import json
import pickle
import struct
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import torch

DTYPES = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "I64": torch.int64,
}
METADATA_KEY = "soundalike"


class Inert:
    """Stands for a class that is not installed (omegaconf in old checkpoints)."""

    def __init__(self, *args):
        pass

    def __setstate__(self, state):
        pass


class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError):
            return type(name, (Inert,), {"__module__": module})


def lenient():
    module = types.ModuleType("lenient_pickle")
    module.__dict__.update(vars(pickle))
    module.Unpickler = Unpickler
    return module


def expected(path):
    """Name to tensor, as Python reads them."""
    if path.is_dir():
        arrays = {}
        for file in ["plda.npz", "xvec_transform.npz"]:
            arrays.update(np.load(path / file))
        return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}
    checkpoint = torch.load(path, map_location="cpu", weights_only=False, pickle_module=lenient())
    return checkpoint["state_dict"]


def raw(tensor):
    """Elements in row-major order as bytes."""
    copy = tensor.detach().clone(memory_format=torch.contiguous_format)
    return copy.reshape(-1).view(torch.uint8).numpy().tobytes()


def read_bundle(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    metadata = header.pop("__metadata__")
    assert list(metadata) == [METADATA_KEY], f"metadata keys {list(metadata)}"
    tensors = {}
    for name, info in header.items():
        start, end = (8 + length + offset for offset in info["data_offsets"])
        tensors[name] = (DTYPES[info["dtype"]], tuple(info["shape"]), data[start:end])
    return tensors


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
            return "two conversions differ"
        found = read_bundle(first)
    wanted = expected(path)
    if sorted(found) != sorted(wanted):
        return f"names differ: {sorted(set(found) ^ set(wanted))}"
    for name, tensor in wanted.items():
        dtype, shape, data = found[name]
        if (dtype, shape) != (tensor.dtype, tuple(tensor.shape)):
            return f"{name}: {dtype} {shape}, expected {tensor.dtype} {tuple(tensor.shape)}"
        if data != raw(tensor):
            return f"{name}: elements differ"
    return None


def golden(path):
    return {
        name: [list(tensor.shape), str(tensor.dtype).removeprefix("torch."), hashlib.sha256(raw(tensor)).hexdigest()]
        for name, tensor in sorted(expected(path).items())
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
        problem = check(first, path)
        failed |= problem is not None
        print(f"{path.name}: {problem or 'bit-equal'}", flush=True)
    sys.exit(failed)


main()

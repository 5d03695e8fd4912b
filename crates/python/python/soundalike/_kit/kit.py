"""Reads a parity kit of soundalike, and records what a port computes. Needs numpy alone; `kit.h` describes the file.

    with Kit("network.sak", "port.sak") as kit:
        for kit.forced in (False, True):  # the second time, each stage reads the reference's values
            x = kit.step("conv", conv(kit["input/input"]))
            ...

Then: ``soundalike.compare(reference, "port.sak")``.
"""

from __future__ import annotations

import math
import os
import struct
from typing import Any

import numpy as np

MAGIC = b"SAKIT\0\0\1"
AXES, NAME = 8, 256


def read(path: str | os.PathLike[str]) -> tuple[bytes, dict[str, np.ndarray]]:
    """The id of the inputs, and the tensors, f32, read when they are used. ValueError if the file is broken."""
    data = np.memmap(path, np.uint8, "r")
    if data[:8].tobytes() != MAGIC:
        raise ValueError("is no parity kit")
    place = 16

    def take(size: int) -> np.ndarray:
        nonlocal place
        place += size
        if place > len(data):
            raise ValueError("is truncated")
        return data[place - size : place]

    def numbers(count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}I", take(4 * count).tobytes())

    tensors: dict[str, np.ndarray] = {}
    while length := numbers(1)[0]:
        name = take(length).tobytes().rstrip(b"\0").decode()
        (axes,) = numbers(1)
        if axes > AXES:
            raise ValueError(f"`{name}` has {axes} axes; a kit has at most {AXES}")
        shape = numbers(axes)
        tensors[name] = take(4 * math.prod(shape)).view("<f4").reshape(shape)
    return data[8:16].tobytes(), tensors


class Writer:
    """Writes a file tensor by tensor. `identity`: 8 bytes, the id of the inputs."""

    def __init__(self, path: str | os.PathLike[str], identity: bytes) -> None:
        self._file = open(path, "wb")
        self._file.write(MAGIC + identity)

    def add(self, name: str, values: Any) -> None:
        """Appends a tensor, in f32."""
        values = np.asarray(values, "<f4", order="C")
        padded = name.encode() + bytes(4 - len(name.encode()) % 4)
        if values.ndim > AXES or len(padded) > NAME:
            raise ValueError(f"`{name}` has more than {AXES} axes, or a name of more than {NAME - 1} bytes")
        self._file.write(struct.pack("<I", len(padded)) + padded)
        self._file.write(struct.pack(f"<{values.ndim + 1}I", values.ndim, *values.shape))
        self._file.write(values.tobytes())

    def close(self, complete: bool = True) -> None:
        """Closes the file. One without its end, because it is not complete, is refused when it is read."""
        if complete:
            self._file.write(struct.pack("<I", 0))
        self._file.close()


class Kit:
    """A kit that is read, and the recording `out` that is written. With `forced`, the reference feeds the stages."""

    def __init__(self, path: str | os.PathLike[str], out: str | os.PathLike[str]) -> None:
        identity, self._tensors = read(path)
        self._out = Writer(out, identity)
        self.forced = False

    def __getitem__(self, name: str) -> np.ndarray:
        return self._tensors[name]

    def step(self, name: str, values: Any) -> np.ndarray:
        """Records the output of a stage, in the reference's order of axes. Returns what the next stage reads."""
        golden = self._tensors[name]
        values = np.asarray(values, np.float32)
        if values.shape != golden.shape:
            raise ValueError(f"stage `{name}` has shape {list(values.shape)}, expected {list(golden.shape)}")
        self._out.add(f"forced/{name}" if self.forced else name, values)
        return golden if self.forced else values

    def r(self, name: str, values: Any) -> float:
        """The error of a stage in units of the rounding of PyTorch's own f32: below 4 it is only rounding."""
        golden = np.asarray(self._tensors[name], np.float64)
        floor = float(self._tensors[f"floor.{'forced' if self.forced else 'free'}/{name}"][0])
        # A floor is at least 2^-25 of the output.
        least = np.sqrt(np.mean(golden**2)) * 2.0**-25
        error = np.sqrt(np.mean((np.asarray(values, np.float64) - golden) ** 2))
        return float(error / max(floor, least)) if error else 0.0

    def __enter__(self) -> Kit:
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        self._out.close(complete=kind is None)

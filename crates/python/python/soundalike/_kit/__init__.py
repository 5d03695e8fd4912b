"""Parity kits: a reference for a port on a device that runs neither Python nor zip files."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import CandidateError, InputError
from .._inputs import Example
from .._trace_file import Trace
from . import kit

# Entries of a trace that a kit has not: goldens are f32 there, and floors those of whole stages.
_AT_HOME = re.compile(r"manifest$|f32/|floor\.(free|forced)\.(channel|frame)/")
_INPUT, _FORCED = "input/", "forced/"


def parity_kit(trace: str | os.PathLike[str], path: str | os.PathLike[str]) -> Path:
    """Writes a kit (``.sak``) for a port on a device: the inputs of a trace, and the golden outputs and the floors of its
    stages, in f32. Writes its readers beside it: ``kit.h`` and ``kit.c``, or ``kit.py``. With them, the port records
    what it computes, fed by itself and by the reference, in a file that is a candidate for `compare`.

    Returns `path`.

    Raises:
        Error: if the trace cannot be read.
        InputError: for an input that f32 does not hold, or a stage that has too many axes.
    """
    path = Path(path)
    read = Trace(trace)
    inputs = {name: array for name, array in read.items() if name.startswith(_INPUT)}
    for name, array in inputs.items():
        if array.dtype.kind not in "f" and not np.array_equal(array.astype(np.float32).astype(array.dtype), array):
            raise InputError(f"{trace}: `{name}` has values that f32 does not hold; give smaller integers")
    writer = kit.Writer(path, _identity({name.removeprefix(_INPUT): array for name, array in inputs.items()}))
    for name, array in read.items():
        if not _AT_HOME.match(name):
            try:
                writer.add(name, array)
            except ValueError as error:
                raise InputError(f"{trace}: {error}") from error
    writer.close()
    for file in ("kit.h", "kit.c", "kit.py"):
        shutil.copyfile(Path(__file__).with_name(file), path.with_name(file))
    return path


class KitCandidate:
    """What a port on a device recorded with `kit.c` or `kit.py`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """
        Raises:
            CandidateError: if the file is no complete recording.
        """
        self.name = Path(path).name
        self._origin = str(path)
        try:
            self._identity, self._tensors = kit.read(path)
        except OSError as error:
            raise CandidateError(f"{path}: cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise CandidateError(f"{path}: {error}; record it anew") from error
        if any(name.startswith("floor.") for name in self._tensors):
            raise CandidateError(f"{path}: is the kit; give the file that the port recorded")

    def describe(self) -> dict[str, Any]:
        """Nothing is known of the engine."""
        return {"engine": ""}

    def free(self, example: Example) -> Iterator[tuple[str, np.ndarray]]:
        """What the port computed, fed by itself.

        Raises:
            CandidateError: if it was recorded on other inputs.
        """
        if self._identity != _identity(dict(example.tensors())):
            raise CandidateError(f"{self._origin}: was recorded on other inputs; record it with a kit of this trace")
        return ((name, array) for name, array in self._tensors.items() if not name.startswith(_FORCED))

    def forced(self, example: Example, taught: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]] | None:
        """What it computed, fed by the kit at every stage that it recorded. None if it did not."""
        forced = {name.removeprefix(_FORCED): a for name, a in self._tensors.items() if name.startswith(_FORCED)}
        return iter(forced.items()) if forced else None


def _identity(inputs: Mapping[str, np.ndarray]) -> bytes:
    """8 bytes that tell these inputs, as f32, from others."""
    digest = hashlib.sha256()
    for name, array in sorted(inputs.items()):
        digest.update(f"{name} {array.shape} ".encode() + np.asarray(array, "<f4", order="C").tobytes())
    return digest.digest()[:8]

"""What can be a candidate."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ._errors import CandidateError
from ._inputs import Example
from ._trace_file import Trace, is_trace


class Candidate(Protocol):
    """A network that shows its tensors."""

    name: str

    def describe(self) -> dict[str, Any]:
        """Engine, versions, device and dtype."""

    def free(self, example: Example) -> Iterator[tuple[str, np.ndarray]]:
        """Every tensor under its own name, in order of execution."""

    def forced(
        self, example: Example, taught: Mapping[str, np.ndarray]
    ) -> Iterator[tuple[str, np.ndarray]] | None:
        """The same, while the consumers of each tensor in `taught` read the given value. None where that cannot be."""


class TraceCandidate:
    """What another engine recorded. The native part reads its arrays where they are."""

    def __init__(self, path: str | os.PathLike[str], *, u2_as_bf16: bool = False) -> None:
        self._trace = Trace(path, u2_as_bf16=u2_as_bf16)
        self.name = f"trace:{Path(path).name}"

    def describe(self) -> dict[str, Any]:
        """Nothing is known of the engine."""
        return {"engine": ""}

    def recorded(self, example: Example) -> Trace:
        """The arrays.

        Raises:
            CandidateError: if they were recorded on other inputs.
        """
        if not example.fits(self._trace):
            raise CandidateError(
                f"{self._trace.path}: was recorded on other inputs; record it on those of the reference"
            )
        return self._trace


def candidate_of(given: Any, *, u2_as_bf16: bool = False) -> Candidate | TraceCandidate:
    """The candidate that `given` is: a module, a path, a function, or a candidate. `u2_as_bf16`: integers of 16 bits in a trace
    are bf16.

    Raises:
        CandidateError: for anything else.
    """
    if isinstance(given, (str, os.PathLike)) and is_trace(given):
        return TraceCandidate(given, u2_as_bf16=u2_as_bf16)
    if u2_as_bf16:
        raise CandidateError("candidate: is no trace, whose integers could be bf16; omit u2_as_bf16")
    if isinstance(given, (str, os.PathLike)):
        return _file(Path(given))
    if isinstance(given, type):
        raise CandidateError(f"candidate: is the class {given.__name__}; give an instance")
    if hasattr(given, "free") and hasattr(given, "forced"):
        found: Candidate = given
        return found
    if hasattr(given, "named_modules"):
        from ._module import ModuleCandidate

        return ModuleCandidate(given)
    if callable(given):
        from ._function import FunctionCandidate

        return FunctionCandidate(given)
    raise CandidateError(
        f"candidate: is a {type(given).__name__}; give a torch.nn.Module, a function that returns named arrays, or the path "
        "of an .onnx, .tflite, .npz, .safetensors or .sak file or of a folder of .npy"
    )


def _file(path: Path) -> Candidate:
    if path.suffix == ".onnx":
        from ._onnx import OnnxCandidate

        return OnnxCandidate(path)
    if path.suffix == ".tflite":
        from ._tflite import TfliteCandidate

        return TfliteCandidate(path)
    if path.suffix == ".sak":
        from ._kit import KitCandidate

        return KitCandidate(path)
    raise CandidateError(
        f"{path}: is none of .onnx, .tflite, .npz, .safetensors, .sak and a folder of .npy; give one of these, or a "
        "torch.nn.Module"
    )

"""Compares any neural network with a port of it, stage by stage: rounding or a bug, and where.

>>> import soundalike
>>> report = soundalike.compare(module, "port.onnx", inputs)  # doctest: +SKIP
>>> report.passed  # doctest: +SKIP
True
"""

from typing import TYPE_CHECKING

from ._compare import assert_same, compare
from ._errors import CandidateError, Error, InputError, ReferenceError
from ._inputs import Example
from ._kit import parity_kit
from ._native import __version__
from ._report import Report

if TYPE_CHECKING:
    from ._capture import capture

__all__ = [
    "CandidateError",
    "Error",
    "Example",
    "InputError",
    "ReferenceError",
    "Report",
    "__version__",
    "assert_same",
    "capture",
    "compare",
    "parity_kit",
]


def __getattr__(name: str) -> object:
    # PyTorch takes seconds to import, and is not always there.
    if name == "capture":
        from ._capture import capture

        return capture
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

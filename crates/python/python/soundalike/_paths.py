"""What users of a candidate get, against the runs that were compared: in a batch, and with graph optimisations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ._candidates import Candidate
from ._errors import Error
from ._floors import LEAST_FLOOR, rms
from ._inputs import Example, as_array

# How many times the reference's own rounding another order of summation may cost.
_EXACT_R = 4.0


def checks(ours: Candidate, example: Example, output: str, value: np.ndarray, floor: float) -> list[dict[str, Any]]:
    """The paths that can be taken, each with what its output differs by.

    Args:
        output: The tensor that is the network's output, and its value in the free run of `example`.
        floor: Root mean square of the error of the reference's own f32 at the output.
    """
    allowed = _EXACT_R * max(floor / (rms(value) or 1.0), LEAST_FLOOR)
    return [
        *_batch(ours, example, output, value, allowed),
        *_optimised(ours, example, output, value, allowed),
    ]


def _batch(
    ours: Candidate, example: Example, output: str, value: np.ndarray, allowed: float
) -> Iterable[dict[str, Any]]:
    """The example with another one in a batch. Nothing where the candidate takes no batch."""
    together = _with_another(example)
    if together is None or not value.shape or value.shape[0] != 1:
        return
    try:
        found = dict(ours.free(together)).get(output)
    except Error:
        return
    if found is None or found.shape != (2, *value.shape[1:]):
        return
    yield _check("batch", "the first of two examples", found[:1], value, allowed)


def _with_another(example: Example) -> Example | None:
    """A batch of the example and the same values in the other order. None where an argument has no batch axis."""

    def both(argument: Any) -> np.ndarray | None:
        array = as_array(argument)
        if array.ndim < 2 or array.shape[0] != 1:
            return None
        return np.concatenate([array, np.flip(array, -1)])

    args = [both(argument) for argument in example.args]
    kwargs = {name: both(argument) for name, argument in example.kwargs.items()}
    if any(argument is None for argument in [*args, *kwargs.values()]):
        return None
    return Example(tuple(args), kwargs)


def _optimised(
    ours: Candidate, example: Example, output: str, value: np.ndarray, allowed: float
) -> Iterable[dict[str, Any]]:
    """The output of ONNX Runtime as users run it."""
    if not hasattr(ours, "output") or getattr(ours, "optimise", True):
        return
    found = dict(ours.output(example, optimise=True)).get(output)
    if found is not None:
        yield _check("optimised", "with ONNX Runtime's graph optimisations", found, value, allowed)


def _check(path: str, runs: str, found: np.ndarray, compared: np.ndarray, allowed: float) -> dict[str, Any]:
    """As the native part reads it."""
    same = found.shape == compared.shape
    error = np.subtract(found, compared, dtype=np.float64) if same else np.array([np.inf])
    largest = rms(error) / (rms(compared) or 1.0)
    wrong = not largest < allowed
    return {
        "path": path,
        "runs": runs,
        "outputs": 1,
        "differing": int(largest != 0.0),
        "wrong": int(wrong),
        "first": "the output" if wrong else None,
        "largest": largest if np.isfinite(largest) else 1e300,
        "allowed": allowed,
    }

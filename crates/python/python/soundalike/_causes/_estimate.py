"""The value of a parameter that explains a candidate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# A stage that is linear in the parameter needs one step of Gauss and Newton, others four or five.
_STEPS = 12
_HALVINGS = 6
# Change of the parameter for a derivative, and the change at which a fit ends, as parts of its value.
_CHANGE = 1e-3
_CONVERGED = 1e-9


@dataclass(frozen=True)
class Fit:
    """The value whose output is nearest to that of the candidate."""

    value: float
    sensitivity: float
    """Root mean square of the derivative of the output."""


def fit(
    candidate: Tensor, replay: Callable[[float], Tensor], right: float, starts: tuple[float, ...], least: float
) -> Fit | None:
    """Least squares by Gauss and Newton from the best of the values to start from.

    None where no value gives finite numbers in the shape of the candidate, or where the output is the same for all."""

    def at(value: float) -> tuple[float, Tensor] | None:
        found = replay(value)
        if found.shape != candidate.shape:
            return None
        error = candidate - found
        size = rms(error)
        return (size, error) if size < float("inf") else None

    tried = [(start, at(start)) for start in (right, *starts)]
    usable = [(found[0], start, found[1]) for start, found in tried if found is not None]
    if not usable:
        return None
    size, value, error = min(usable, key=lambda one: one[0])
    scale = min((abs(start) for start in (right, *starts) if start), default=1.0)
    sensitivity = 0.0
    for _ in range(_STEPS):
        change = _CHANGE * max(abs(value), scale)
        changed = at(value + change)
        if changed is None:
            return None
        derivative = (error - changed[1]) / change
        sensitivity = rms(derivative)
        square = float((derivative * derivative).sum())
        if not square > 0:
            return None
        step = float((derivative * error).sum()) / square
        moved = False
        for _ in range(_HALVINGS):
            following = max(value + step, least)
            found = at(following)
            if found is not None and found[0] < size:
                step, moved = following - value, True
                value, (size, error) = following, found
                break
            step /= 2
        if not moved or abs(step) <= _CONVERGED * max(abs(value), scale):
            break
    return Fit(value, sensitivity)


def shortest(value: float, low: float, high: float) -> float:
    """The number with the fewest digits near ``value`` within an interval around it."""
    rounded = (float(f"{value:.{digits}e}") for digits in range(17))
    return next((number for number in rounded if low <= number <= high), value)


def interval_words(value: float, low: float, high: float, right: float) -> str:
    """``0.02 in place of 0.01 (0.0199 to 0.0201)``: the interval is rounded outwards and keeps the right value out."""
    ends = low, high
    for digits in range(3, 18):
        ends = _outward(low, digits, -1), _outward(high, digits, 1)
        if not ends[0] <= right <= ends[1]:
            break
    return f"{value:.10g} in place of {right:.10g} ({ends[0]:.10g} to {ends[1]:.10g})"


def _outward(end: float, digits: int, sign: int) -> float:
    if end == 0:
        return end
    unit = 10.0 ** (math.floor(math.log10(abs(end))) + 1 - digits)
    return float(f"{sign * math.ceil(sign * end / unit) * unit:.{digits - 1}e}")


def rms(x: Tensor) -> float:
    """The root mean square; 0 of nothing."""
    return float(torch.linalg.vector_norm(x.double())) / x.numel() ** 0.5 if x.numel() else 0.0

"""Rounding, drawn again.

A recurrence can amplify its own rounding, and then the error of one f32 run is one draw of a wide distribution: where the
reference is lucky, a correct candidate has many times its error. Such a stage is run again on inputs moved by one unit in the
last place; the largest error is the floor. (D. S. Parker, *Monte Carlo Arithmetic*, 1997.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

REDRAWS = 3
"""How often a recurrent stage is run again."""


def moved(values: np.ndarray, draw: int) -> np.ndarray:
    """`values`, where they are floats, each up or down by one unit in the last place. Which way depends on the place and on
    `draw` alone."""
    if values.dtype.kind != "f":
        return values
    up = np.random.default_rng(draw).integers(0, 2, values.shape, np.uint8).astype(bool)
    towards = np.where(up, np.inf, -np.inf).astype(values.dtype)
    result: np.ndarray[Any, Any] = np.nextafter(values, towards)
    return result


def larger(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The larger of two floors of one stage, in each part."""
    return {part: np.maximum(a[part], b[part]) for part in a}

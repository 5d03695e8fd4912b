"""Floors: the error of a reference's own f32, whole and in slices."""

from __future__ import annotations

import numpy as np

# An f32 cannot be nearer to its golden value: half a unit in the last place, in units of the root mean square.
LEAST_FLOOR = 2.0**-25
# The error of so few values is small by chance: they count as right to a unit in the last place of an f32, not better.
_FEW = 16
_UNIT = 2.0**-23


def floors(
    error: np.ndarray, golden: np.ndarray, channel_axis: int, frame_axis: int | None, least: float = 0.0
) -> dict[str, np.ndarray]:
    """Root mean squares of `error` of a stage whose right values are `golden`, f64: ``""`` `[1]` of all of it,
    ``".channel"`` `[channels]`, and ``".frame"`` `[frames]` unless `frame_axis` is None; `least` at least."""
    square = np.square(np.atleast_1d(np.asarray(error, np.float64)))

    def along(axis: int) -> np.ndarray:
        slices = np.moveaxis(square, axis, 0).reshape(square.shape[axis], -1)
        means: np.ndarray = np.sqrt(slices.mean(axis=1))
        return means

    means = {"": np.sqrt(square.reshape(1, -1).mean(axis=1)), ".channel": along(channel_axis)}
    if square.size < _FEW:
        means[""] = np.maximum(means[""], _UNIT * rms(golden))
    if frame_axis is not None:
        means[".frame"] = along(frame_axis)
    return {part: np.maximum(mean, least) for part, mean in means.items()}


def rms(values: np.ndarray) -> float:
    """Root mean square, in f64; 0 of nothing."""
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.mean(np.square(values, dtype=np.float64)))) if values.size else 0.0

"""Traces whose tensors are hard to recognise: other names, other orders of axes, less precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def names(trace: Path, out: Path) -> Path:
    """Writes `trace` with a number as the name of each tensor."""
    return _write(trace, out, lambda number, value: value)


def axes(trace: Path, out: Path) -> Path:
    """As `names`, with the axes of each tensor in another order."""
    return _write(trace, out, _turned)


def f16(trace: Path, out: Path) -> Path:
    """As `axes`, in f16."""
    return _write(trace, out, lambda number, value: _turned(number, value).astype(np.float16))


def _turned(number: int, value: np.ndarray) -> np.ndarray:
    order = np.random.default_rng(number).permutation(value.ndim)
    return np.ascontiguousarray(value.transpose(order))


def _write(trace: Path, out: Path, change: object) -> Path:
    assert callable(change)
    with np.load(trace) as given:
        tensors = [given[name] for name in given.files if name not in ("waveform", "manifest")]
    np.savez(out, **{f"t{number:03}": change(number, value) for number, value in enumerate(tensors)})
    return out

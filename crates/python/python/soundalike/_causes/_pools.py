"""Pooling and interpolation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._hypothesis import Hypothesis, absent, given
from ._operation import Kind, Operation

_AVG = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_ADAPTIVE_AVG = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
_ADAPTIVE_MAX = {1: F.adaptive_max_pool1d, 2: F.adaptive_max_pool2d, 3: F.adaptive_max_pool3d}


def _avg_pool(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    dims: int = 1,
) -> Tensor:
    divisor = {} if divisor_override is None else {"divisor_override": divisor_override}
    return _AVG[dims](input, kernel_size, stride, padding, ceil_mode, count_include_pad, **divisor)


def _max_pool(
    input: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    dims: int = 1,
) -> Tensor:
    return _MAX[dims](input, kernel_size, stride, padding, dilation, ceil_mode)


def _adaptive_avg(input: Tensor, output_size: Any, dims: int = 1) -> Tensor:
    return _ADAPTIVE_AVG[dims](input, output_size)


def _adaptive_max(input: Tensor, output_size: Any, return_indices: bool = False, dims: int = 1) -> Tensor:
    return _ADAPTIVE_MAX[dims](input, output_size)


def _interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    return F.interpolate(input, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)


_AVG_OPERANDS = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
_MAX_OPERANDS = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
_INTERPOLATE = ("size", "scale_factor", "mode", "align_corners")


def _of_dims(n: int) -> dict[str, Kind]:
    dims = {"dims": n}
    return {
        f"AvgPool{n}d": Kind("avg_pool", _avg_pool, attributes=_AVG_OPERANDS, constants=dims),
        f"avg_pool{n}d": Kind("avg_pool", _avg_pool, ("input", *_AVG_OPERANDS, "divisor_override"), constants=dims),
        f"MaxPool{n}d": Kind("max_pool", _max_pool, attributes=_MAX_OPERANDS, constants=dims),
        f"max_pool{n}d": Kind("max_pool", _max_pool, ("input", *_MAX_OPERANDS), constants=dims),
        f"AdaptiveAvgPool{n}d": Kind("adaptive_avg", _adaptive_avg, attributes=("output_size",), constants=dims),
        f"adaptive_avg_pool{n}d": Kind("adaptive_avg", _adaptive_avg, ("input", "output_size"), constants=dims),
        f"AdaptiveMaxPool{n}d": Kind("adaptive_max", _adaptive_max, attributes=("output_size",), constants=dims),
        f"adaptive_max_pool{n}d": Kind("adaptive_max", _adaptive_max, ("input", "output_size"), constants=dims),
    }


KINDS = {
    **_of_dims(1),
    **_of_dims(2),
    **_of_dims(3),
    "Upsample": Kind("interpolate", _interpolate, attributes=_INTERPOLATE),
    "interpolate": Kind("interpolate", _interpolate, ("input", *_INTERPOLATE, "recompute_scale_factor", "antialias")),
    "upsample": Kind("interpolate", _interpolate, ("input", *_INTERPOLATE)),
}


def _as_other_pool(op: Operation, _: None) -> Tensor:
    """A window of the maximum in place of the mean, or the other way round, with the same windows."""
    if "output_size" in op.operands:
        other = _adaptive_max if op.family == "adaptive_avg" else _adaptive_avg
        return other(op["input"], op["output_size"], dims=op["dims"])
    names = ("kernel_size", "stride", "padding", "ceil_mode", "dims")
    same = {name: op[name] for name in names}
    return (_max_pool if op.family == "avg_pool" else _avg_pool)(op["input"], **same)


def _windows(op: Operation) -> tuple[list[int], list[int], list[int]]:
    def each(value: Any) -> list[int]:
        return [value] * op["dims"] if isinstance(value, int) else list(value)

    kernel = each(op["kernel_size"])
    return kernel, each(op["stride"]) if op["stride"] is not None else kernel, each(op["padding"])


def _summed(op: Operation, _: None) -> Tensor:
    return op.run(count_include_pad=True, divisor_override=None) * math.prod(_windows(op)[0])


def _sides(op: Operation) -> Iterator[str]:
    if any(_windows(op)[2]):
        yield from ("all at the start", "all at the end")


def _moved(op: Operation, side: str) -> Tensor:
    pads = [(0, 2 * p) if side.endswith("end") else (2 * p, 0) for p in _windows(op)[2]]
    flat = [side for pair in reversed(pads) for side in pair]
    empty = float("-inf") if op.family == "max_pool" else 0.0
    return op.run(input=F.pad(op["input"], flat, value=empty), padding=0)


def _zero_padded(op: Operation, _: None) -> Tensor:
    flat = [p for p in reversed(_windows(op)[2]) for _ in range(2)]
    return op.run(input=F.pad(op["input"], flat), padding=0)


def _padded(op: Operation) -> tuple[None, ...]:
    return (None,) if any(_windows(op)[2]) else ()


def _phases(op: Operation) -> Iterator[int]:
    _, stride, padding = _windows(op)
    if not any(padding):
        yield from range(1, min(3, max(stride)))


def _in_phase(op: Operation, phase: int) -> Tensor:
    stride = _windows(op)[1]
    moved = [min(phase, s - 1) for s in stride]
    flat = [side for by in reversed(moved) for side in (-by, by)]
    empty = float("-inf") if op.family == "max_pool" else 0.0
    return op.run(input=F.pad(op["input"], flat, value=empty))


_LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}


def _is_linear(op: Operation) -> bool:
    return op["mode"] in (*_LINEAR.values(), "bicubic")


def _aligned(op: Operation) -> tuple[bool, ...]:
    return (not op["align_corners"],) if _is_linear(op) else ()


def _other_modes(op: Operation) -> Iterator[str]:
    for mode in ("nearest", "nearest-exact", _LINEAR[op["input"].ndim], "bicubic"):
        if mode != op["mode"] and (mode != "bicubic" or op["input"].ndim == 4):
            yield mode


def _in_mode(op: Operation, mode: str) -> Tensor:
    corners = (op["align_corners"] or False) if not mode.startswith("nearest") else None
    return op.run(mode=mode, align_corners=corners, antialias=False)


def _without_half_pixels(op: Operation, _: None) -> Tensor:
    """Linear interpolation at the coordinate (index / scale), without half a pixel (ONNX: `asymmetric`)."""
    y: Tensor = op["input"]
    for axis, length in enumerate(op.output.shape[2:], 2):
        before = y.shape[axis]
        at = torch.arange(length, dtype=torch.float64) * before / length
        low = at.floor().clamp(max=before - 1)
        part = (at - low).to(y.dtype).reshape(-1, *[1] * (y.ndim - axis - 1))
        first, second = low.long(), (low.long() + 1).clamp(max=before - 1)
        y = y.index_select(axis, first) * (1 - part) + y.index_select(axis, second) * part
    return y


_WINDOWED = ("avg_pool", "max_pool")
_SAMPLING = ("interpolate",)

HYPOTHESES = [
    Hypothesis("max-for-mean", "the maximum in place of the mean", ("avg_pool", "adaptive_avg"), _as_other_pool),
    Hypothesis("mean-for-max", "the mean in place of the maximum", ("max_pool", "adaptive_max"), _as_other_pool),
    Hypothesis("ceil-mode", "ceil_mode={value} in place of {ceil_mode}", _WINDOWED,
               lambda op, value: op.run(ceil_mode=value), lambda op: (not op["ceil_mode"],)),
    Hypothesis("count-include-pad", "count_include_pad={value} in place of {count_include_pad}", ("avg_pool",),
               lambda op, value: op.run(count_include_pad=value), lambda op: (not op["count_include_pad"],)),
    Hypothesis("padding-side", "padding {value}", _WINDOWED, _moved, _sides),
    Hypothesis("padding-missing", "no padding", _WINDOWED, lambda op, _: op.run(padding=0), _padded),
    Hypothesis("padded-with-zeros", "padded with zeros in place of minus infinity", ("max_pool",),
               _zero_padded, _padded),
    Hypothesis("stride-phase", "windows start {value} elements later", _WINDOWED, _in_phase, _phases),
    Hypothesis("sum-for-mean", "the sum in place of the mean", ("avg_pool",), _summed, absent("ceil_mode")),
    Hypothesis("align-corners", "align_corners={value}", _SAMPLING,
               lambda op, value: op.run(align_corners=value), _aligned),
    Hypothesis("interpolation-mode", "{value} in place of {mode}", _SAMPLING, _in_mode, _other_modes),
    Hypothesis("no-half-pixel", "coordinates without half a pixel (asymmetric)", _SAMPLING, _without_half_pixels,
               lambda op: (None,) if op["mode"] in _LINEAR.values() else ()),
    Hypothesis("antialias-missing", "without antialiasing", _SAMPLING, lambda op, _: op.run(antialias=False),
               given("antialias")),
]

"""Linear layers, convolutions and products of matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._hypothesis import Hypothesis, given
from ._operation import Kind, Operation
from ._rounding import to_dtype, to_dtype_like, to_tf32

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
_MODES = ("zeros", "reflect", "replicate", "circular")


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(input, weight, bias)


def _matmul(input: Tensor, other: Tensor) -> Tensor:
    return torch.matmul(input, other)


def _addmm(bias: Tensor, input: Tensor, other: Tensor, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
    return beta * bias + alpha * torch.matmul(input, other)


def _each(value: Any, count: int) -> tuple[Any, ...]:
    return (value,) * count if isinstance(value, int) else tuple(value)


def _pads(padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> list[tuple[int, int]]:
    """Elements before and after each spatial axis. ``padding`` is PyTorch's, or such pairs."""
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilation)]
        return [(total // 2, total - total // 2) for total in totals]
    each = _each(0 if padding == "valid" else padding, len(kernel))
    return [pair if isinstance(pair, tuple) else (pair, pair) for pair in each]


def _conv(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Tensor:
    n = weight.ndim - 2
    pads = _pads(padding, tuple(weight.shape[2:]), _each(dilation, n))
    mode = "constant" if padding_mode == "zeros" else padding_mode
    padded = F.pad(input, [side for pair in reversed(pads) for side in pair], mode)
    return _CONV[n](padded, weight, bias, _each(stride, n), 0, _each(dilation, n), groups)


def _conv_transpose(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    return _CONV_TRANSPOSE[weight.ndim - 2](input, weight, bias, stride, padding, output_padding, groups, dilation)


_CONV_OPERANDS = ("weight", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSE_OPERANDS = ("weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")

KINDS = {
    "Linear": Kind("linear", _linear, attributes=("weight", "bias")),
    "linear": Kind("linear", _linear, ("input", "weight", "bias")),
    **{name: Kind("matmul", _matmul, ("input", "other")) for name in ("matmul", "bmm", "mm")},
    "rmatmul": Kind("matmul", _matmul, ("other", "input")),
    **{name: Kind("matmul", _addmm, ("bias", "input", "other")) for name in ("addmm", "baddbmm")},
    "Conv1D": Kind("matmul", _addmm, ("input",), ("other|weight", "bias")),  # of transformers' GPT-2
    **{f"Conv{n}d": Kind("conv", _conv, attributes=(*_CONV_OPERANDS, "padding_mode")) for n in _CONV},
    **{f"conv{n}d": Kind("conv", _conv, ("input", *_CONV_OPERANDS)) for n in _CONV},
    **{f"ConvTranspose{n}d": Kind("conv_transpose", _conv_transpose, ("input",), _TRANSPOSE_OPERANDS) for n in _CONV},
    **{f"conv_transpose{n}d": Kind("conv_transpose", _conv_transpose, ("input", *_TRANSPOSE_OPERANDS)) for n in _CONV},
}


def _spatial(op: Operation) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], list[tuple[int, int]]]:
    """Kernel, stride, dilation and pads of each axis."""
    kernel = tuple(op["weight"].shape[2:])
    n = len(kernel)
    dilation = _each(op["dilation"], n)
    return kernel, _each(op["stride"], n), dilation, _pads(op["padding"], kernel, dilation)


def _square(op: Operation) -> tuple[None, ...]:
    return (None,) if op["weight"].shape[0] == op["weight"].shape[1] else ()


def _square_kernel(op: Operation) -> tuple[None, ...]:
    kernel = op["weight"].shape[2:]
    return (None,) if len(kernel) == 2 and kernel[0] == kernel[1] > 1 else ()


def _long_kernel(op: Operation) -> tuple[None, ...]:
    return (None,) if any(length > 1 for length in op["weight"].shape[2:]) else ()


def _padded(op: Operation) -> tuple[None, ...]:
    return (None,) if any(side for pair in _spatial(op)[3] for side in pair) else ()


# Elements before and after an axis, from those of the reference.
_SIDES: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "all at the start (causal)": lambda before, after: (before + after, 0),
    "all at the end": lambda before, after: (0, before + after),
    "one less at the start, one more at the end": lambda before, after: (max(before - 1, 0), after + min(before, 1)),
    "one more at the start, one less at the end": lambda before, after: (before + min(after, 1), max(after - 1, 0)),
}


def _sides(op: Operation) -> Iterable[str]:
    return _SIDES if _padded(op) else ()


def _moved(op: Operation, side: str) -> Tensor:
    return op.run(padding=[_SIDES[side](*pair) for pair in _spatial(op)[3]])


def _phases(op: Operation) -> Iterator[int]:
    stride = _spatial(op)[1]
    if not _padded(op):
        yield from range(1, max(stride))


def _in_phase(op: Operation, phase: int) -> Tensor:
    moved = [min(phase, stride - 1) for stride in _spatial(op)[1]]
    return op.run(padding=[(-by, by) for by in moved])


def _other_modes(op: Operation) -> Iterator[str]:
    if _padded(op):
        yield from (mode for mode in _MODES if mode != op["padding_mode"])


def _dilations(op: Operation) -> Iterator[tuple[int, int, bool]]:
    """Another dilation, the one of the reference, and whether the padding changes at the start alone."""
    kernel, _stride, dilation, pads = _spatial(op)
    own = max((d for d, k in zip(dilation, kernel) if k > 1), default=0)
    if own:
        # Where it is padded by another step, the padding may be causal.
        starts = (False,) if any(side for pair in pads for side in pair) else (False, True)
        for other in dict.fromkeys((1, own - 1, own + 1, 2 * own, own // 2)):
            if other not in (0, own):
                yield from ((other, own, start) for start in starts)


def _dilated(op: Operation, value: tuple[int, int, bool]) -> Tensor:
    """Padded so that the output has the same length."""
    other, _own, at_start = value
    kernel, _stride, dilation, pads = _spatial(op)
    more = [(other - d) * (k - 1) for k, d in zip(kernel, dilation)]
    ends = [0 if at_start else total // 2 for total in more]
    return op.run(
        dilation=other,
        padding=[(low + total - end, high + end) for (low, high), total, end in zip(pads, more, ends)],
    )


def _grouped(op: Operation) -> tuple[None, ...]:
    return (None,) if op["groups"] > 1 else ()


def _shuffled(x: Tensor, groups: int, axis: int) -> Tensor:
    """Channels in `groups` groups, reordered so that the first of each group comes first."""
    return torch.unflatten(x, axis, (groups, -1)).transpose(axis, axis + 1).flatten(axis, axis + 1)


def _weight_in(weight: Tensor, name: str) -> Tensor:
    if not name.startswith("int8"):
        return to_dtype(weight, name)
    largest = weight.abs().max()
    if name.endswith("channel"):
        largest = weight.abs().flatten(1).amax(1).reshape(-1, *[1] * (weight.ndim - 1))
    scale = largest.clamp(min=1e-30) / 127
    return (weight / scale).round() * scale


def _points(op: Operation) -> tuple[None, ...]:
    kernel, stride, _dilation, _pads = _spatial(op)
    return (None,) if max(kernel) == 1 < max(stride) and len(kernel) < 3 and not _padded(op) else ()


def _averaged(op: Operation, _: None) -> Tensor:
    stride = _spatial(op)[1]
    pool = F.avg_pool1d if len(stride) == 1 else F.avg_pool2d
    return op.run(input=pool(op["input"], stride, stride, 0, True, False), stride=1)


def _features(op: Operation) -> int:
    """The axis of the input features."""
    features: int = op["input"].ndim - op["weight"].ndim + 1
    return features


# The part of the features that stands first in the reference and last in the candidate.
_PARTS = ((1, 2), (1, 3), (2, 3), (1, 4), (3, 4))


def _parts(op: Operation) -> Iterator[tuple[int, int]]:
    count = op["input"].shape[_features(op)]
    if op.operands.get("groups", 1) == 1 and count > 2:
        yield from ((count * part // of, count) for part, of in _PARTS if count % of == 0)


def _grids(op: Operation) -> Iterator[tuple[int, int]]:
    """All shapes that a flattened input may have."""
    count = op["input"].shape[-1]
    yield from ((rows, count // rows) for rows in range(2, count // 2 + 1) if count % rows == 0)


def _as_grid(op: Operation, grid: tuple[int, int]) -> Tensor:
    return op.run(input=torch.unflatten(op["input"], -1, grid).transpose(-1, -2).flatten(-2))


def _with_own_weight(op: Operation, weight: Tensor) -> Tensor:
    return op.run(weight=weight.to(op["weight"].dtype))


def _magnitude_missing(op: Operation, form: str) -> Tensor:
    assert op.weight_norm is not None
    return _with_own_weight(op, op.weight_norm.v / (1 if form == "v" else op.weight_norm.of_v(op.weight_norm.axis)))


def _norm_axes(op: Operation) -> Iterator[tuple[str, int | None]]:
    norm = op.weight_norm
    if norm is not None:
        for axis in (*range(norm.v.ndim), None):
            if axis != norm.axis:
                yield "one norm of all" if axis is None else f"a norm for each index of axis {axis}", axis


def _normed_along(op: Operation, value: tuple[str, int | None]) -> Tensor:
    norm = op.weight_norm
    assert norm is not None
    return _with_own_weight(op, norm.g * norm.v / norm.of_v(value[1]))


_WEIGHTS = ("f16", "bf16", "int8 for the tensor", "int8 for each output channel")
_WEIGHTED = ("linear", "conv", "conv_transpose")
_PRODUCTS = (*_WEIGHTED, "matmul")


def _low(op: Operation, rounded: Callable[[Tensor], Tensor]) -> Tensor:
    """The product of rounded factors, summed in full precision."""
    return op.run(**{factor: rounded(op[factor]) for factor in ("input", "weight", "other") if op.has(factor)})


def _of_rounded_factors(dtype: str) -> Hypothesis:
    text = f"the factors of the products rounded to {dtype}"
    return Hypothesis(f"factors-{dtype}", text, _PRODUCTS, lambda op, _: _low(op, lambda x: to_dtype(x, dtype)))


def _computed_in(op: Operation, name: str) -> Tensor:
    parts = [part for part in ("input", "weight", "other", "bias") if op.has(part)]
    return to_dtype_like(op, op.run(**{part: to_dtype(op[part], name) for part in parts}), name)


HYPOTHESES = [
    Hypothesis("bias-missing", "the bias is missing", _PRODUCTS,
               lambda op, _: op.run(bias=torch.zeros_like(op["bias"])), given("bias")),
    Hypothesis("bias-twice", "the bias is added twice", _PRODUCTS,
               lambda op, _: op.run(bias=2 * op["bias"]), given("bias")),
    Hypothesis("bias-subtracted", "the bias is subtracted", _PRODUCTS,
               lambda op, _: op.run(bias=-op["bias"]), given("bias")),
    Hypothesis("weight-transposed", "the weight is transposed", _WEIGHTED,
               lambda op, _: op.run(weight=op["weight"].transpose(0, 1)), _square),
    Hypothesis("inputs-reversed", "the input features are in reverse order", ("linear", "conv"),
               lambda op, _: op.run(weight=op["weight"].flip(1))),
    Hypothesis("other-transposed", "the second matrix is transposed", ("matmul",),
               lambda op, _: op.run(other=op["other"].transpose(-1, -2))),
    Hypothesis("padding-side", "padding {value}", ("conv",), _moved, _sides),
    Hypothesis("stride-phase", "windows start {value} elements later", ("conv",), _in_phase, _phases),
    Hypothesis("stride-averaged", "the mean of {stride} elements in place of the first of them", ("conv",),
               _averaged, _points),
    Hypothesis("padding-mode", "padding with {value} in place of {padding_mode}", ("conv",),
               lambda op, mode: op.run(padding_mode=mode), _other_modes),
    Hypothesis("padding-missing", "no padding", ("conv",), lambda op, _: op.run(padding=0), _padded),
    Hypothesis("dilation", "dilation {value[0]} in place of {value[1]}", ("conv",), _dilated, _dilations),
    Hypothesis("kernel-flipped", "the kernel is flipped (a true convolution in place of a cross-correlation)",
               ("conv", "conv_transpose"),
               lambda op, _: op.run(weight=op["weight"].flip(tuple(range(2, op["weight"].ndim)))), _long_kernel),
    Hypothesis("kernel-transposed", "height and width of the kernel swapped", ("conv", "conv_transpose"),
               lambda op, _: op.run(weight=op["weight"].transpose(2, 3)), _square_kernel),
    Hypothesis("groups-permuted", "the input channels of the groups are interleaved", ("conv",),
               lambda op, _: op.run(input=_shuffled(op["input"], op["groups"], 1)), _grouped),
    Hypothesis("groups-interleaved", "groups of every {groups}th input channel in place of adjacent ones", ("conv",),
               lambda op, _: op.run(input=_shuffled(op["input"], op["input"].shape[1] // op["groups"], 1)), _grouped),
    Hypothesis("outputs-shuffled", "the output channels are shuffled over the groups", ("conv",),
               lambda op, _: _shuffled(op.run(), op["groups"], 1), _grouped),
    Hypothesis("magnitude-missing", "the magnitude g of the weight norm is missing: {value} is the weight", _WEIGHTED,
               _magnitude_missing, lambda op: ("v", "v / |v|") if op.weight_norm is not None else ()),
    Hypothesis("weight-norm-axis", "the weight norm divides by {value[0]}", _WEIGHTED,
               _normed_along, _norm_axes),
    Hypothesis("features-moved",
               "the last {value[0]} of {value[1]} input features are first: a concatenation in another order",
               ("linear", "conv"), lambda op, by: op.run(input=op["input"].roll(by[0], _features(op))), _parts),
    Hypothesis("features-transposed",
               "the input features are read as {value[1]} x {value[0]} in place of {value[0]} x {value[1]}: flattened in "
               "another order, such as NHWC", ("linear",), _as_grid, _grids),
    Hypothesis("weight-rounded", "the weight rounded to {value}", _WEIGHTED,
               lambda op, name: op.run(weight=_weight_in(op["weight"], name)), lambda op: _WEIGHTS),
    *map(_of_rounded_factors, ("f16", "bf16", "tf32")),
    Hypothesis("computed-in", "computed in {value}: factors and output", _PRODUCTS,
               _computed_in, lambda op: ("f16", "bf16")),
    Hypothesis("factors-cut-off", "the factors of the products cut off to tf32", _PRODUCTS,
               lambda op, _: _low(op, lambda x: to_tf32(x, nearest=False))),
]

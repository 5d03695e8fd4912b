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


def _dilated(op: Operation) -> tuple[None, ...]:
    return (None,) if max(_spatial(op)[2]) > 1 else ()


def _undilated(op: Operation, _: None) -> Tensor:
    kernel, _stride, dilation, pads = _spatial(op)
    less = [(d - 1) * (k - 1) for k, d in zip(kernel, dilation)]
    return op.run(
        dilation=1,
        padding=[(low - missing // 2, high - missing + missing // 2) for (low, high), missing in zip(pads, less)],
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
    Hypothesis("padding-mode", "padding with {value} in place of {padding_mode}", ("conv",),
               lambda op, mode: op.run(padding_mode=mode), _other_modes),
    Hypothesis("padding-missing", "no padding", ("conv",), lambda op, _: op.run(padding=0), _padded),
    Hypothesis("dilation", "dilation 1 in place of {dilation}", ("conv",), _undilated, _dilated),
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
    Hypothesis("weight-rounded", "the weight rounded to {value}", _WEIGHTED,
               lambda op, name: op.run(weight=_weight_in(op["weight"], name)), lambda op: _WEIGHTS),
    *map(_of_rounded_factors, ("f16", "bf16", "tf32")),
    Hypothesis("computed-in", "computed in {value}: factors and output", _PRODUCTS,
               _computed_in, lambda op: ("f16", "bf16")),
    Hypothesis("factors-cut-off", "the factors of the products cut off to tf32", _PRODUCTS,
               lambda op, _: _low(op, lambda x: to_tf32(x, nearest=False))),
]

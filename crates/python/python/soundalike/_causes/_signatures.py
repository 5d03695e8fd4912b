"""Forms of an output that need no knowledge of the step."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ._estimate import rms
from ._hypothesis import Hypothesis, Parameter, Rank, Replay, Values, once
from ._operation import Operation
from ._rounding import to_dtype_like

# Largest shift, in both directions.
_FARTHEST = 3
# Least number of elements for each number that is chosen.
_ELEMENTS = 8
# Levels of a grid of eight bits, and the least that must be in use for it to be told from a few equal values.
_LEVELS = 256
_LEAST_LEVELS = 16
# Activations that a candidate may have fused into a step.
_FUSED: dict[str, Callable[[Tensor], Tensor]] = {
    "ReLU": F.relu,
    "GELU": F.gelu,
    "SiLU": F.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "Hardswish": F.hardswish,
}


def not_finite(ours: Tensor, right: Tensor) -> tuple[str, str, Tensor]:
    """Words, an id and a mask of the elements that are finite on both sides, for values that are NaN or infinite on one
    side alone."""
    finite = ours.isfinite() & right.isfinite()
    if bool((ours.isfinite() & ~right.isfinite()).any()):
        odd = ours.isfinite() & ~right.isfinite()
        first = [int(i) for i in odd.nonzero()[0]]
        text = f"{float(ours[tuple(first)]):g} in place of {float(right[tuple(first)]):g}, first at {first}"
        return text, "finite", finite
    odd = ~finite & ~((ours == right) | (ours.isnan() & right.isnan()))
    first = list(map(int, odd.nonzero()[0]))
    what = "NaN" if bool(ours[odd].isnan().all()) else "infinite" if not bool(ours.isnan().any()) else "NaN or infinite"
    count = int(odd.sum())
    return f"an output with {count} of {ours.numel()} values {what}, first at {first}", "not-finite", finite


def _pairs_of_axes(op: Operation) -> Iterator[tuple[int, int]]:
    yield from itertools.combinations(range(op.output.ndim), 2)


def _axes(op: Operation) -> Iterator[int]:
    yield from (axis for axis, length in enumerate(op.output.shape) if length > 1)


def _even_axes(op: Operation) -> Iterator[int]:
    yield from (axis for axis in _axes(op) if op.output.shape[axis] % 2 == 0 and op.output.shape[axis] > 2)


def _shifts(op: Operation) -> Iterator[tuple[int, int]]:
    for axis in _axes(op):
        for far in range(1, _FARTHEST + 1):
            # The edge is unknown: most of the axis must be known.
            if 4 * far <= op.output.shape[axis]:
                yield from ((far, axis), (-far, axis))


def _shifted(op: Operation, value: tuple[int, int]) -> Tensor:
    by, axis = value
    result = op.output.roll(by, axis)
    edge = slice(0, by) if by > 0 else slice(by, None)
    index = (slice(None),) * axis + (edge,)
    result[index] = op.candidate[index]
    return result


def _missing_ends(op: Operation) -> Iterator[tuple[int, str]]:
    yield from ((axis, end) for axis in _axes(op) for end in ("last", "first"))


def _cut(op: Operation, value: tuple[int, str]) -> Tensor:
    axis, end = value
    return op.output.narrow(axis, 0 if end == "last" else 1, op.output.shape[axis] - 1)


def _interleaved(op: Operation, axis: int) -> Tensor:
    return torch.cat([op.output.movedim(axis, 0)[0::2], op.output.movedim(axis, 0)[1::2]]).movedim(0, axis)


def _with_halves_interleaved(op: Operation, axis: int) -> Tensor:
    first, second = op.output.movedim(axis, 0).chunk(2)
    return torch.stack([first, second], 1).flatten(0, 1).movedim(0, axis)


def _flattened_grids(op: Operation) -> Iterator[tuple[int, int, int, str]]:
    """Axes that may be a flattened grid, such as that of patches, and the index before it, such as that of a class."""
    if _same(op):
        for axis in _axes(op):
            for first in (0, 1):
                count = op.output.shape[axis] - first
                for rows in range(2, count // 2 + 1):
                    # Two rows or columns are halves, interleaved.
                    if count % rows == 0 and (first or 2 < rows < count // 2):
                        yield axis, first, rows, f"{rows} x {count // rows}"


def _with_grid_transposed(op: Operation, value: tuple[int, int, int, str]) -> Tensor:
    axis, first, rows, _ = value
    order = torch.arange(first, op.output.shape[axis]).reshape(rows, -1).T.flatten()
    return op.output.index_select(axis, torch.cat([torch.arange(first), order]))


def _inputs(op: Operation) -> Iterator[Tensor]:
    yield from (x for x in op.inputs if x.is_floating_point())


def _limits(op: Operation) -> Iterator[tuple[float, float]]:
    """Least and greatest value of the candidate, where the reference goes beyond them."""
    if _same(op):
        low, high = float(op.candidate.min()), float(op.candidate.max())
        above, below = low > float(op.output.min()), high < float(op.output.max())
        if above and below:
            yield low, high
        if above:
            yield low, math.inf
        if below:
            yield -math.inf, high


def _same(op: Operation) -> bool:
    return op.candidate.shape == op.output.shape


def _worst_indices(op: Operation) -> Iterator[tuple[int, int]]:
    """The index with the largest error on each axis of three or more."""
    if _same(op) and op.output.ndim > 1:
        for axis in _axes(op):
            if op.output.shape[axis] > 2:
                error = (op.candidate - op.output).movedim(axis, 0).flatten(1).square().mean(1)
                yield int(error.argmax()), axis


def _with_zeros(op: Operation, value: tuple[int, int]) -> Tensor:
    index, axis = value
    result = op.output.clone()
    result.select(axis, index).zero_()
    return result


def _with_one_index(op: Operation, value: tuple[int, int]) -> Tensor:
    index, axis = value
    result = op.output.clone()
    result.select(axis, index).copy_(op.candidate.select(axis, index))
    return result


def _worst_element(op: Operation) -> Iterator[list[int]]:
    if _same(op) and op.output.numel() >= _ELEMENTS:
        flat = (op.candidate - op.output).abs().argmax()
        yield [int(i) for i in torch.unravel_index(flat, op.output.shape)]


def _with_one_element(op: Operation, index: list[int]) -> Tensor:
    result = op.output.clone()
    result[tuple(index)] = op.candidate[tuple(index)]
    return result


def _long_axes(op: Operation) -> Iterator[int]:
    """Axes with enough elements at each index to choose a number for it."""
    if _same(op):
        yield from (axis for axis in _axes(op) if op.output.numel() >= _ELEMENTS * op.output.shape[axis])


def _gains(op: Operation, axis: int) -> Tensor:
    others = [a for a in range(op.output.ndim) if a != axis]
    square = op.output.square().sum(others, keepdim=True)
    gain = (op.candidate * op.output).sum(others, keepdim=True) / square.clamp(min=1e-300)
    return op.output * gain


def _offsets(op: Operation, axis: int) -> Tensor:
    others = [a for a in range(op.output.ndim) if a != axis]
    return op.output + (op.candidate - op.output).mean(others, keepdim=True)


def _gain_and_offset(op: Operation, _: None) -> Tensor:
    a, b = op.output - op.output.mean(), op.candidate - op.candidate.mean()
    gain = (a * b).sum() / (a * a).sum()
    return op.output * gain + op.candidate.mean() - gain * op.output.mean()


def _enough(op: Operation) -> Iterable[None]:
    return (None,) if _same(op) and op.output.numel() >= 2 * _ELEMENTS else ()


def _reorderings(op: Operation) -> Iterator[int]:
    if _same(op):
        # The distances of all pairs are computed.
        yield from (axis for axis in _long_axes(op) if 3 <= op.output.shape[axis] <= 512)


def _reordered(op: Operation, axis: int) -> Tensor:
    ours, right = op.candidate.movedim(axis, 0).flatten(1), op.output.movedim(axis, 0).flatten(1)
    nearest = torch.cdist(ours, right).argmin(1)
    if len(set(nearest.tolist())) < len(nearest):
        raise ValueError("not a permutation")
    return op.output.index_select(axis, nearest)


def _grid(op: Operation) -> tuple[float, float] | None:
    """The step and the least value of an eight-bit grid on which the candidate lies."""
    values = torch.from_numpy(np.unique(op.candidate.numpy()))
    if not _LEAST_LEVELS <= len(values) <= _LEVELS or op.candidate.numel() <= 2 * len(values):
        return None
    steps = values.diff()
    step = float(steps[steps > 1e-6 * values.abs().max()].min())
    # Rounding moves each level: the mean step is the better one.
    counts = ((values - values[0]) / step).round()
    step = float((values[-1] - values[0]) / counts[-1])
    on_it = (values - values[0] - counts * step).abs().max() < 1e-3 * step
    return (step, float(values[0])) if bool(on_it) and int(counts[-1]) < _LEVELS else None


def _grids(op: Operation) -> Iterator[str]:
    found = _grid(op) if _same(op) else None
    if found is not None:
        yield f"{found[0]:.4g}"


def _on_grid(op: Operation, _: str) -> Tensor:
    step, least = _grid(op) or (1.0, 0.0)
    nearest = ((op.output.double() - least) / step).clamp(0, float((op.candidate.max() - least) / step))
    # Ties and the rounding of the scale: what is nearest within a hundredth of a step.
    away = (op.candidate - least) / step - nearest
    inside = away.abs() < 0.51
    return torch.where(inside, op.candidate.double(), nearest.round() * step + least)


def _form(id: str, words: str, replay: Replay, values: Values = once) -> Hypothesis:
    return Hypothesis(id, words, (), replay, values, Rank.FORM)


def _activations_before(op: Operation) -> Iterable[str]:
    # Products are too heavy for so many.
    return _FUSED if isinstance(op.operands.get("input"), Tensor) and not op.multiply_adds else ()


def _of_rounded_output(dtype: str) -> Hypothesis:
    text = f"the output rounded to {dtype}"
    return _form(f"output-{dtype}", text, lambda op, _: to_dtype_like(op, op.output, dtype))


def _fitted(id: str, words: str, replay: Replay, values: Values) -> Hypothesis:
    return Hypothesis(id, words, (), replay, values, Rank.FITTED)


HYPOTHESES = [
    _form("repeats-the-input", "repeats its input: the step is missing", lambda op, x: x, _inputs),
    _form("zeros", "zeros everywhere", lambda op, _: torch.zeros_like(op.output)),
    _form("sign", "the other sign", lambda op, _: -op.output),
    _form("swapped-axes", "axes {value} swapped", lambda op, axes: op.output.transpose(*axes), _pairs_of_axes),
    _form("batch-axis-missing", "the first axis, of length 1, is missing", lambda op, _: op.output.squeeze(0)),
    _form("reversed-axis", "axis {value} reversed", lambda op, axis: op.output.flip(axis), _axes),
    _form("swapped-halves", "the halves of axis {value} swapped",
          lambda op, axis: op.output.roll(op.output.shape[axis] // 2, axis), _even_axes),
    _form("deinterleaved", "the even indices of axis {value} before the odd ones", _interleaved, _even_axes),
    _form("interleaved", "the halves of axis {value} interleaved", _with_halves_interleaved, _even_axes),
    _form("transposed-grid", "axis {value[0]} is a grid of {value[3]} in the order of columns in place of rows",
          _with_grid_transposed, _flattened_grids),
    _form("shift", "shifted by {value[0]:+d} along axis {value[1]} (the edge is not judged)", _shifted, _shifts),
    _form("end-missing", "the {value[1]} index of axis {value[0]} is missing, the rest is right", _cut, _missing_ends),
    _form("activation-applied", "{value} applied to the output",
          lambda op, name: _FUSED[name](op.output), lambda op: _FUSED),
    _form("activation-before", "{value} applied to the input",
          lambda op, name: op.run(input=_FUSED[name](op["input"])), _activations_before),
    _form("squared", "the square of it: the root is missing", lambda op, _: op.output.square()),
    *map(_of_rounded_output, ("f16", "bf16", "tf32")),
    _form("zeros-at-an-index", "index {value[0]} of axis {value[1]} is zero", _with_zeros, _worst_indices),
    _fitted("clipped", "clipped to [{value[0]:.6g}, {value[1]:.6g}]",
            lambda op, limits: op.output.clamp(*limits), _limits),
    _fitted("int8-grid", "the output on an eight-bit grid with steps of {value}", _on_grid, _grids),
    _fitted("one-element", "one wrong element, at {value}", _with_one_element, _worst_element),
    _fitted("gain-and-offset", "a gain and an offset", _gain_and_offset, _enough),
    _fitted("one-index", "index {value[0]} of axis {value[1]} is wrong, the rest is right",
            _with_one_index, _worst_indices),
    _fitted("another-order", "axis {value} in another order", _reordered, _reorderings),
    _fitted("gain-of-each", "another gain for each index of axis {value}", _gains, _long_axes),
    _fitted("offset-of-each", "another offset for each index of axis {value}", _offsets, _long_axes),
]

PARAMETERS = [
    Parameter("gain", "a gain", (), lambda op, value: op.output * value, lambda op: 1.0 if rms(op.output) else None),
    Parameter("offset", "an offset", (), lambda op, value: op.output + value, lambda op: 0.0),
]

"""The order of elements within an operand: rotary embeddings, fused projections, grouped keys, tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ._hypothesis import Hypothesis, Parameter, Rank
from ._operation import Operation, cast

# An angle that was computed from f32 has this relative error.
_F32 = 1e-6
_WHICH = {"input": "first", "other": "second"}


def _changed(op: Operation, operands: dict[str, Tensor]) -> Tensor:
    """The output with other operands. They are in f64, and may be views of other shapes of the same storage."""
    return op.run(**{name: value.to(op[name].dtype) for name, value in operands.items()})


def _view(x: Tensor, stride: tuple[int, ...], offset: int) -> Tensor | None:
    """Other elements of the tensor that `x` is a view of, in the same shape. None where it has no such elements."""
    last = offset + sum((length - 1) * step for length, step in zip(x.shape, stride))
    inside = offset >= 0 and last < x.untyped_storage().nbytes() // x.element_size()
    return torch.as_strided(x, x.shape, stride, offset) if inside else None


def _tensors(op: Operation, names: tuple[str, ...]) -> Iterator[tuple[str, Tensor]]:
    for name in names:
        value = op.operands.get(name)
        if isinstance(value, Tensor) and value.is_floating_point() and value.numel():
            yield name, value


_PAIRS, _HALVES = "interleaved pairs in place of halves", "halves in place of interleaved pairs"


def _halves_of_rotary(op: Operation) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Where a factor is a half of the features, each other half of them."""
    for name, x in _tensors(op, ("input", "other")):
        if x.ndim < 2 or x.shape[-1] < 2:
            continue
        length, step, offset = x.shape[-1], x.stride(-1), int(x.storage_offset())
        row = min((s for n, s in zip(x.shape[:-1], x.stride()) if n > 1), default=0)
        tried = []
        if row >= 2 * length * step:
            tried += [(_PAIRS, 2 * step, offset), (_PAIRS, 2 * step, offset - (length - 1) * step)]
        if step % 2 == 0 and row >= length * step:
            half = step // 2
            tried += [(_HALVES, half, offset), (_HALVES, half, offset + (length - 1) * half)]
        for words, other, start in tried:
            found = _view(x, (*x.stride()[:-1], other), start)
            if found is not None:
                yield words, {name: found}


_HEAD_FIRST = "[head, 3, width] in place of [3, head, width]"
_PART_FIRST = "[3, head, width] in place of [head, 3, width]"


def _other_split(x: Tensor, words: str) -> Tensor | None:
    """A query, key or value in a fused projection that is split in another order."""
    offset = int(x.storage_offset())
    for axis, (heads, step) in enumerate(zip(x.shape, x.stride())):
        if heads < 2 or step < 2:
            continue
        row = 3 * heads * step if words == _HEAD_FIRST else heads * step
        if row not in x.stride() or (words == _PART_FIRST and step % 3):
            continue
        part, other = (heads * step, 3 * step) if words == _HEAD_FIRST else (step // 3, step // 3)
        which, rest = divmod(offset % row, part)
        start = which * step if words == _HEAD_FIRST else which * heads * other
        stride = (*x.stride()[:axis], other, *x.stride()[axis + 1 :])
        return _view(x, stride, offset - offset % row + start + rest)
    return None


def _splits(op: Operation) -> Iterator[tuple[str, dict[str, Tensor]]]:
    for words in (_HEAD_FIRST, _PART_FIRST):
        changed = {name: _other_split(x, words) for name, x in _tensors(op, ("input", "other", "query", "key", "value"))}
        found = {name: x for name, x in changed.items() if x is not None}
        if found:
            yield words, found


_BLOCKS = "as blocks (0 1 0 1) in place of one by one (0 0 1 1)"
_EACH = "one by one (0 0 1 1) in place of as blocks (0 1 0 1)"


def _regrouped(x: Tensor, words: str) -> Tensor | None:
    """Heads that are equal in groups, in the other order. None where they are not."""
    heads = x.shape[-3] if x.ndim >= 3 else 1
    for times in range(2, heads // 2 + 1):
        if heads % times == 0:
            grouped = torch.unflatten(x, -3, (-1, times) if words == _BLOCKS else (times, -1))
            same = grouped.movedim(-3 if words == _BLOCKS else -4, 0)
            if all(torch.equal(one, same[0]) for one in same[1:]):
                return grouped.transpose(-3, -4).flatten(-4, -3)
    return None


def _groups(op: Operation) -> Iterator[tuple[str, dict[str, Tensor]]]:
    for words in (_BLOCKS, _EACH):
        changed = {name: _regrouped(x, words) for name, x in _tensors(op, ("input", "other", "key", "value"))}
        found = {name: x for name, x in changed.items() if x is not None}
        if found:
            yield words, found


def _ungrouped(op: Operation) -> tuple[None, ...]:
    return (None,) if op.has("enable_gqa") and 1 < op["key"].shape[-3] < op["query"].shape[-3] else ()


def _in_blocks(op: Operation, _: None) -> Tensor:
    times = op["query"].shape[-3] // op["key"].shape[-3]
    return op.run(enable_gqa=False, **{name: torch.cat([op[name]] * times, -3) for name in ("key", "value")})


_ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "with its halves interleaved": lambda x: torch.unflatten(x, -1, (2, -1)).transpose(-1, -2).flatten(-2),
    "with its even features before the odd ones": lambda x: torch.cat([x[..., 0::2], x[..., 1::2]], -1),
    "with its halves swapped": lambda x: x.roll(x.shape[-1] // 2, -1),
}


def _orders(op: Operation) -> Iterator[tuple[str, str, str]]:
    for name, x in _tensors(op, ("input", "other")):
        if x.ndim and x.shape[-1] % 2 == 0 and x.shape[-1] > 2:
            yield from ((_WHICH[name], order, name) for order in _ORDERS)


_Table = tuple[str, Callable[[float], Tensor], float]


def _rotary_table(op: Operation) -> _Table | None:
    """A factor that holds the sines or cosines of a rotary embedding of positions from 0: its name, the table of another
    base, and its base."""
    for name, x in _tensors(op, ("input", "other")):
        shape = x.shape
        axes = [axis for axis, length in enumerate(shape) if length > 1]
        if len(axes) == 2 and axes[1] == x.ndim - 1 and x.shape[axes[0]] > 2:
            found = _base_of(x.double().reshape(x.shape[axes[0]], -1))
            if found is not None:
                make, base = found
                return name, lambda value: make(value).reshape(shape), base
    return None


def _base_of(table: Tensor) -> tuple[Callable[[float], Tensor], float] | None:
    function = torch.cos if bool((table[0] == 1).all()) else torch.sin if not bool(table[0].any()) else None
    if function is None:
        return None
    row = table[1].clamp(-1, 1)
    angles = torch.acos(row) if function is torch.cos else torch.asin(row)
    half = len(angles) // 2
    lay: Callable[[Tensor], Tensor] = _once
    if torch.equal(angles[:half], angles[half:]):
        lay, angles = _in_halves, angles[:half]
    elif torch.equal(angles[0::2], angles[1::2]):
        lay, angles = _in_pairs, angles[0::2]
    count = len(angles)
    if count < 2 or not float(angles[1]) > 0:
        return None
    exact = math.exp(-count * math.log(float(angles[1])))
    positions, places = torch.arange(len(table), dtype=torch.float64), torch.arange(count, dtype=torch.float64)

    def make(value: float) -> Tensor:
        return lay(function(positions[:, None] * value ** (-places / count)))

    for base in (float(f"{exact:.4g}"), exact):
        # The angles of an f32 table are wrong by its rounding, times the position.
        if torch.allclose(make(base), table, 0, 1e-5 + _F32 * len(table)):
            return make, base
    return None


def _once(angles: Tensor) -> Tensor:
    return angles


def _in_halves(angles: Tensor) -> Tensor:
    return torch.cat([angles, angles], -1)


def _in_pairs(angles: Tensor) -> Tensor:
    return torch.repeat_interleave(angles, 2, -1)


def _base(op: Operation) -> float | None:
    found = _rotary_table(op)
    return None if found is None else found[2]


def _with_base(op: Operation, value: float) -> Tensor:
    found = _rotary_table(op)
    if found is None:
        raise ValueError("has no rotary table")
    name, make, _ = found
    return _changed(op, {name: make(value)})


# Multiply-adds of all replays with another stage as an operand.
_WIRES = 5e9


def _wires(op: Operation) -> Iterator[tuple[str, str, str]]:
    """Stages before it that may be an operand, and the operand that they are in place of."""
    left = _WIRES
    for operand, x in _tensors(op, ("input", "other", "query", "key", "value")):
        for stage, value in reversed(list(op.earlier.items())):
            left -= op.multiply_adds
            if value.shape == x.shape and left >= 0 and not torch.equal(value, x):
                words = f"{_WHICH.get(operand, operand)} operand" if op.has("other") else operand
                yield stage, words, operand


def _twins(op: Operation) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Parameters of other modules of its class that fit."""
    left = _WIRES
    for name, operands in op.twins.items():
        left -= op.multiply_adds
        parameters = {key: cast(value, torch.float64) for key, value in operands.items() if _shapes(value)}
        if left >= 0 and parameters:
            if all(_shapes(op[key]) == _shapes(value) for key, value in operands.items()):
                yield "parameters", name, parameters
            weights = [_shapes(side.get("weight")) for side in (op.operands, parameters)]
            if weights[0] == weights[1] != [] and "bias" in parameters:
                yield "bias", name, {"bias": parameters["bias"]}


def _shapes(value: Any) -> list[Any]:
    """Of a tensor, or of lists of tensors."""
    if isinstance(value, Tensor):
        return [value.shape]
    return [_shapes(one) for one in value] if isinstance(value, list) else []


_TWO = ("add", "mul")

HYPOTHESES = [
    Hypothesis("rotary-pairs", "a rotary embedding of {value[0]}", ("mul",), lambda op, value: _changed(op, value[1]),
               _halves_of_rotary),
    Hypothesis("fused-split", "the fused query, key and value are split as {value[0]}", ("mul", "matmul", "attention"),
               lambda op, value: _changed(op, value[1]), _splits),
    Hypothesis("grouped-heads", "the heads of grouped keys and values are repeated {value[0]}", ("matmul", "attention"),
               lambda op, value: _changed(op, value[1]), _groups),
    Hypothesis("grouped-heads-in-blocks", f"the heads of grouped keys and values are repeated {_BLOCKS}", ("attention",),
               _in_blocks, _ungrouped),
    Hypothesis("operand-order", "the {value[0]} operand {value[1]}", _TWO,
               lambda op, value: op.run(**{value[2]: _ORDERS[value[1]](op[value[2]])}), _orders),
    Hypothesis("other-stage", "reads `{value[0]}` in place of its {value[1]}", (),
               lambda op, value: _changed(op, {value[2]: op.earlier[value[0]]}), _wires, Rank.FORM),
    Hypothesis("other-parameters", "has the {value[0]} of `{value[1]}`", (),
               lambda op, value: op.run(**cast(value[2], op.output.dtype)), _twins, Rank.FORM),
]

PARAMETERS = [
    Parameter("rotary-base", "a rotary base", ("mul",), _with_base, _base, (500.0, 1e3, 1e4, 1e5, 5e5, 1e6), 1.0),
]

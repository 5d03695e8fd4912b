"""Sums, products, statistics and embeddings."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ._hypothesis import Hypothesis
from ._operation import Kind, Operation


def _add(input: Any, other: Any, alpha: float = 1.0) -> Tensor:
    return torch.as_tensor(input + alpha * other)


def _subtract(input: Any, other: Any, alpha: float = 1.0) -> Tensor:
    return torch.as_tensor(input - alpha * other)


def _multiply(input: Any, other: Any) -> Tensor:
    return torch.as_tensor(input * other)


def _divide(input: Any, other: Any) -> Tensor:
    return torch.as_tensor(input / other)


def _statistic(
    input: Tensor,
    dim: Any = None,
    keepdim: bool = False,
    correction: float | None = None,
    unbiased: bool | None = None,
    of: str = "mean",
    **_: Any,
) -> Tensor:
    # The second argument of `var` and `std` may be `unbiased`.
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    axes = _axes(input, dim)
    if of == "mean":
        return input.mean(axes, keepdim)
    if of == "sum":
        return input.sum(axes, keepdim)
    less = correction if correction is not None else 0 if unbiased is False else 1
    return {"var": torch.var, "std": torch.std}[of](input, axes, correction=less, keepdim=keepdim)


def _axes(input: Tensor, dim: Any) -> tuple[int, ...]:
    return tuple(range(input.ndim)) if dim is None or dim == () else (dim,) if isinstance(dim, int) else tuple(dim)


def _cumulative(input: Tensor, dim: int, **_: Any) -> Tensor:
    return input.cumsum(dim)


def _normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, **_: Any) -> Tensor:
    return F.normalize(input, p, dim, eps)


def _embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None, **_: Any) -> Tensor:
    return F.embedding(input, weight)


def _dropout(input: Tensor, p: float = 0.5, **_: Any) -> Tensor:
    return input


def _statistic_kind(of: str) -> Kind:
    return Kind("statistic", _statistic, ("input", "dim", "keepdim"), constants={"of": of})


def _variance_kind(of: str) -> Kind:
    return Kind("statistic", _statistic, ("input", "dim", "unbiased", "keepdim"), constants={"of": of})


KINDS = {
    **{name: Kind("add", _add, ("input", "other")) for name in ("add", "iadd", "radd")},
    **{name: Kind("sub", _subtract, ("input", "other")) for name in ("sub", "isub", "subtract")},
    "rsub": Kind("sub", _subtract, ("other", "input")),
    **{name: Kind("mul", _multiply, ("input", "other")) for name in ("mul", "imul", "rmul", "multiply")},
    **{
        name: Kind("div", _divide, ("input", "other"))
        for name in ("div", "idiv", "truediv", "itruediv", "divide", "true_divide")
    },
    "rtruediv": Kind("div", _divide, ("other", "input")),
    "rdiv": Kind("div", _divide, ("other", "input")),
    "mean": _statistic_kind("mean"),
    "sum": _statistic_kind("sum"),
    "var": _variance_kind("var"),
    "std": _variance_kind("std"),
    "cumsum": Kind("cumulative", _cumulative, ("input", "dim")),
    "normalize": Kind("normalize", _normalize, ("input", "p", "dim", "eps")),
    "embedding": Kind("embedding", _embedding, ("input", "weight", "padding_idx")),
    "Dropout": Kind("dropout", _dropout, attributes=("p",)),
    "dropout": Kind("dropout", _dropout, ("input", "p")),
    "Embedding": Kind("embedding", _embedding, attributes=("weight", "padding_idx")),
}


def _tensors(op: Operation) -> Iterator[str]:
    """The operands that have the shape of the output."""
    for name in ("input", "other"):
        if isinstance(op[name], Tensor) and op[name].shape == op.output.shape:
            yield name


def _operand(op: Operation, name: str) -> Tensor:
    value = op[name]
    assert isinstance(value, Tensor)
    return value


_WHICH = {"input": "first", "other": "second"}


def _other(name: str) -> str:
    return "other" if name == "input" else "input"


def _operands(op: Operation) -> Iterator[str]:
    yield from (words for name, words in _WHICH.items() if op.has(name))


def _named(words: str) -> str:
    return "input" if words == "first" else "other"


def _negative(op: Operation) -> Iterator[str]:
    """The operands that ReLU changes."""
    for words in _operands(op):
        value = op[_named(words)]
        if isinstance(value, Tensor) and bool((value < 0).any()):
            yield words


def _dropped(op: Operation) -> Iterator[str]:
    """The operand that may be missing: what is left has the shape of the output."""
    yield from (_WHICH[_other(name)] for name in _tensors(op))


def _tables(op: Operation) -> Iterator[tuple[str, str, int]]:
    """Operands and axes along which a table, such as of positions, may be shifted by one."""
    for words in _operands(op):
        value = op[_named(words)]
        if isinstance(value, Tensor):
            for axis in range(value.ndim):
                if value.shape[axis] >= 4:
                    yield from ((words, direction, axis - value.ndim) for direction in ("later", "earlier"))


def _table_shifted(op: Operation, value: tuple[str, str, int]) -> Tensor:
    words, direction, axis = value
    name = _named(words)
    by = 1 if direction == "earlier" else -1
    result = op.run(**{name: op[name].roll(by, axis)})
    edge = 0 if by > 0 else -1
    # What stands beyond the edge of the table is not known.
    result.select(axis, edge).copy_(op.candidate.select(axis, edge))
    return result


def _axes_of_statistic(op: Operation) -> Iterator[int]:
    own = (
        tuple(axis % op["input"].ndim for axis in _axes(op["input"], op["dim"]))
        if not isinstance(op["dim"], bool)
        else ()
    )
    yield from (axis for axis in range(op["input"].ndim) if own and (axis,) != own)


def _other_statistics(op: Operation) -> Iterator[str]:
    yield from (of for of in ("mean", "sum", "var", "std") if of != op["of"])


def _corrections(op: Operation) -> tuple[float, ...]:
    if op["of"] not in ("var", "std"):
        return ()
    biased = op["unbiased"] is False or op["dim"] is False or op["correction"] == 0
    return (1.0,) if biased else (0.0,)


def _exclusive(op: Operation, _: None) -> Tensor:
    before: Tensor = op.run() - op["input"]
    return before


def _other_axes(op: Operation) -> Iterator[int]:
    own = op["dim"] % op["input"].ndim
    yield from (axis for axis in range(op["input"].ndim) if axis != own)


def _offsets(op: Operation) -> tuple[int, ...]:
    return (1, -1, 2, -2)


def _with_row_of_zeros(op: Operation, row: int) -> Tensor:
    weight = op["weight"].clone()
    weight[row] = 0
    return op.run(weight=weight)


def _rows(op: Operation) -> tuple[int, ...]:
    own = op["padding_idx"]
    return (own,) if own is not None else (0, op["weight"].shape[0] - 1)


def _some_zero(op: Operation) -> tuple[None, ...]:
    """If about as many values are zero as are dropped on average."""
    return (None,) if 0 < op["p"] < 1 and abs(float((op.candidate == 0).double().mean()) - op["p"]) < 0.2 else ()


_EMBEDDING = ("embedding",)
_STATISTIC = ("statistic",)
_TWO = ("add", "sub", "mul", "div")

HYPOTHESES = [
    Hypothesis("operand-missing", "the {value} summand is missing", ("add",),
               lambda op, words: _operand(op, _other(_named(words))), _dropped),
    Hypothesis("operand-missing", "the {value} factor is missing", ("mul",),
               lambda op, words: _operand(op, _other(_named(words))), _dropped),
    Hypothesis("operand-missing", "the divisor is missing", ("div",), lambda op, _: _operand(op, "input"),
               lambda op: (None,) if "input" in _tensors(op) else ()),
    Hypothesis("operand-missing", "nothing is subtracted", ("sub",), lambda op, _: _operand(op, "input"),
               lambda op: (None,) if "input" in _tensors(op) else ()),
    Hypothesis("operand-doubled", "the {value} operand is added twice, or a factor of 0.5 is missing", ("add",),
               lambda op, words: op.run(**{_named(words): 2 * op[_named(words)]}), _operands),
    Hypothesis("operand-squared", "the {value} factor is applied twice", ("mul",),
               lambda op, words: op.run(**{_named(words): op[_named(words)] * op[_named(words)]}), _operands),
    Hypothesis("divided-twice", "divided twice", ("div",), lambda op, _: op.run(other=op["other"] * op["other"])),
    Hypothesis("relu-of-operand", "ReLU applied to the {value} operand, before the addition", ("add",),
               lambda op, words: op.run(**{_named(words): F.relu(op[_named(words)])}), _negative),
    Hypothesis("subtracted", "subtracted in place of added", ("add",),
               lambda op, _: op.run(alpha=-op["alpha"])),
    Hypothesis("added", "added in place of subtracted", ("sub",), lambda op, _: op.run(alpha=-op["alpha"])),
    Hypothesis("operands-swapped", "the operands swapped", ("sub", "div"),
               lambda op, _: op.run(input=op["other"], other=op["input"])),
    Hypothesis("multiplied", "multiplied in place of {value}", ("add", "div"),
               lambda op, _: _multiply(op["input"], op["other"]),
               lambda op: ("added" if op.family == "add" else "divided",)),
    Hypothesis("divided", "divided in place of multiplied", ("mul",), lambda op, _: _divide(op["input"], op["other"])),
    Hypothesis("summed", "added in place of multiplied", ("mul",), lambda op, _: _add(op["input"], op["other"])),
    Hypothesis("table-shifted",
               "the {value[0]} operand is read one index {value[1]} along axis {value[2]}; the edge is not judged",
               _TWO, _table_shifted, _tables),
    Hypothesis("correction", "correction {value:g}: biased and unbiased confused", _STATISTIC,
               lambda op, less: op.run(correction=less), _corrections),
    Hypothesis("statistic-axis", "over axis {value} in place of {dim}", _STATISTIC,
               lambda op, axis: op.run(dim=axis), _axes_of_statistic),
    Hypothesis("other-statistic", "{value} in place of {of}", _STATISTIC,
               lambda op, of: op.run(of=of), _other_statistics),
    Hypothesis("exclusive", "summed without the element itself (exclusive)", ("cumulative",),
               _exclusive),
    Hypothesis("cumulative-axis", "along axis {value} in place of {dim}", ("cumulative", "normalize"),
               lambda op, axis: op.run(dim=axis), _other_axes),
    Hypothesis("from-the-end", "summed from the end", ("cumulative",),
               lambda op, _: op.run(input=op["input"].flip(op["dim"])).flip(op["dim"])),
    Hypothesis("dropout", "dropout is active (training mode)", ("dropout",),
               lambda op, _: op.run() / (1 - op["p"]) * (op.candidate != 0), _some_zero),
    Hypothesis("normalize-missing", "not normalised", ("normalize",), lambda op, _: op["input"]),
    Hypothesis("normalize-p", "the norm of power {value} in place of {p}", ("normalize",),
               lambda op, p: op.run(p=p), lambda op: tuple(p for p in (1.0, 2.0, math.inf) if p != op["p"])),
    Hypothesis("embedding-scaled", "multiplied by sqrt(width)", _EMBEDDING,
               lambda op, _: op.run() * op["weight"].shape[1] ** 0.5),
    Hypothesis("embedding-unscaled", "divided by sqrt(width)", _EMBEDDING,
               lambda op, _: op.run() / op["weight"].shape[1] ** 0.5),
    Hypothesis("rows-moved", "rows read at the index {value:+d}", _EMBEDDING,
               lambda op, by: op.run(input=(op["input"] + by) % op["weight"].shape[0]), _offsets),
    Hypothesis("padding-row-zero", "row {value} read as zeros", _EMBEDDING, _with_row_of_zeros, _rows),
]

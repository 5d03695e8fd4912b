"""LSTM and GRU layers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ._hypothesis import Hypothesis
from ._operation import Kind, Operation

Weights = list[list[Tensor]]
"""W_ih, W_hh, b_ih, b_hh of each layer and direction, in the order of PyTorch."""


def _recurrent(
    input: Tensor,
    hx: Any = None,
    *,
    cell: str,
    all_weights: Weights,
    num_layers: int,
    bidirectional: bool,
    batch_first: bool = False,
    reversed_back: bool = True,
    directions_swapped: bool = False,
    reset_before: bool = False,
) -> tuple[Tensor, ...]:
    """The output and the last states, layer by layer and direction by direction."""
    x = input.transpose(0, 1) if batch_first else input
    states = list(hx) if isinstance(hx, (tuple, list)) else [] if hx is None else [hx]
    directions = 2 if bidirectional else 1
    last: list[list[Tensor]] = []
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            part = layer * directions + direction
            width = all_weights[part][1].shape[1]
            zeros = [torch.zeros(1, x.shape[1], width, dtype=x.dtype) for _ in range(2 if cell == "lstm" else 1)]
            state = [s[part : part + 1] for s in states] or zeros
            forward = x.flip(0) if direction else x
            y, *after = _layer(cell, forward, state, all_weights[part], reset_before)
            outputs.append(y.flip(0) if direction and reversed_back else y)
            last.append(after)
        x = torch.cat(outputs[::-1] if directions_swapped else outputs, 2)
    ends = [torch.cat(each) for each in zip(*last)]
    return (x.transpose(0, 1) if batch_first else x, *ends)


def _layer(cell: str, x: Tensor, state: list[Tensor], weights: list[Tensor], reset_before: bool) -> tuple[Tensor, ...]:
    if cell == "lstm":
        y, h, c = torch.lstm(x, state, weights, len(weights) == 4, 1, 0.0, False, False, False)
        return y, h, c
    if not reset_before:
        y, h = torch.gru(x, state[0], weights, len(weights) == 4, 1, 0.0, False, False, False)
        return y, h
    w_ih, w_hh, b_ih, b_hh = weights
    h, outputs = state[0][0], []
    for frame in x @ w_ih.T + b_ih:
        r, z = torch.sigmoid(frame + h @ w_hh.T + b_hh).chunk(3, 1)[:2]
        n = torch.tanh(frame.chunk(3, 1)[2] + (r * h) @ w_hh.chunk(3)[2].T + b_hh.chunk(3)[2])
        h = (1 - z) * n + z * h
        outputs.append(h)
    return torch.stack(outputs), h[None]


def _kind(cell: str) -> Kind:
    operands = ("all_weights", "num_layers", "bidirectional", "batch_first")
    return Kind(cell, _recurrent, ("input", "hx"), operands, {"cell": cell})


def _cell(input: Tensor, hx: Any = None, *, batch_first: bool = False, **operands: Any) -> tuple[Tensor, ...]:
    """One frame `[batch, feature]`."""
    states = None if hx is None else [state[None] for state in (hx if isinstance(hx, (tuple, list)) else (hx,))]
    _, *ends = _recurrent(input[None], states, num_layers=1, **operands)
    return tuple(end[0] for end in ends)


_CELL_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _with_cell_weights(operands: dict[str, Any]) -> dict[str, Any]:
    weights = [operands.pop(name) for name in _CELL_WEIGHTS]
    return {**operands, "all_weights": [[weight for weight in weights if weight is not None]]}


def _cell_kind(cell: str) -> Kind:
    constants = {"cell": cell, "bidirectional": False, "batch_first": False}
    return Kind(cell, _cell, ("input", "hx"), _CELL_WEIGHTS, constants, _with_cell_weights)


KINDS = {"LSTM": _kind("lstm"), "GRU": _kind("gru"), "LSTMCell": _cell_kind("lstm"), "GRUCell": _cell_kind("gru")}


def _edited(op: Operation, edit: Callable[[list[Tensor]], list[Tensor]], part: int | None = None) -> Tensor:
    weights = [edit(one) if part in (None, at) else one for at, one in enumerate(op["all_weights"])]
    return op.run(all_weights=weights)


def _gates_in(weights: list[Tensor], order: str, own: str) -> list[Tensor]:
    """Weights whose gates are stored in the order ``own``, read in ``order``."""
    chunks = [order.index(gate) for gate in own]
    return [torch.cat([w.chunk(len(own))[chunk] for chunk in chunks]) for w in weights]


def _orders(own: str, likeliest: tuple[str, ...]) -> tuple[str, ...]:
    others = ("".join(p) for p in itertools.permutations(own) if "".join(p) not in (own, *likeliest))
    return (*likeliest, *others)


_LSTM = _orders("ifgo", ("igfo", "ifog", "iofg", "fiog"))
_GRU = _orders("rzn", ("zrn",))


def _biased(op: Operation) -> bool:
    return len(op["all_weights"][0]) == 4


def _whole(op: Operation) -> tuple[None, ...]:
    return (None,) if _biased(op) else ()


def _parts(op: Operation) -> Iterator[tuple[int, str]]:
    """Each layer and direction, where there are several."""
    count = len(op["all_weights"])
    if _biased(op) and count > 1:
        for part in range(min(count, 8)):
            if op["bidirectional"]:
                yield part, f"{part // 2}, {'reverse' if part % 2 else 'forward'},"
            else:
                yield part, str(part)


def _without_hidden(w: list[Tensor]) -> list[Tensor]:
    return [*w[:3], torch.zeros_like(w[3])]


def _without_input(w: list[Tensor]) -> list[Tensor]:
    return [w[0], w[1], torch.zeros_like(w[2]), w[3]]


def _with_update_inverted(w: list[Tensor]) -> list[Tensor]:
    """The update gate z as 1 - z: the sigmoid of minus."""
    sign = torch.ones(w[0].shape[0], dtype=w[0].dtype)
    hidden = w[1].shape[1]
    sign[hidden : 2 * hidden] = -1
    return [one * (sign[:, None] if one.ndim == 2 else sign) for one in w]


def _with_open_forget_gate(w: list[Tensor]) -> list[Tensor]:
    hidden = w[1].shape[1]
    bias = w[2].clone()
    bias[hidden : 2 * hidden] += 1
    return [w[0], w[1], bias, w[3]]


def _forward_for_both(op: Operation, _: None) -> Tensor:
    weights = op["all_weights"]
    return op.run(all_weights=[weights[part - part % 2] for part in range(len(weights))])


def _swapped_directions(op: Operation, _: None) -> Tensor:
    weights = op["all_weights"]
    return op.run(all_weights=[weights[part ^ 1] for part in range(len(weights))])


def _both(op: Operation) -> tuple[None, ...]:
    return (None,) if op["bidirectional"] else ()


def _with_axes_swapped(op: Operation, _: None) -> Tensor:
    return op.run(batch_first=not op["batch_first"])


_CELLS = ("lstm", "gru")

HYPOTHESES = [
    Hypothesis("reverse-not-reversed-back", "the output of the reverse direction is not reversed back", _CELLS,
               lambda op, _: op.run(reversed_back=False), _both),
    Hypothesis("directions-swapped", "the outputs of both directions swapped", _CELLS,
               lambda op, _: op.run(directions_swapped=True), _both),
    Hypothesis("direction-weights-swapped", "the weights of both directions swapped", _CELLS,
               _swapped_directions, _both),
    Hypothesis("forward-weights-in-reverse", "the reverse direction has the forward weights", _CELLS,
               _forward_for_both, _both),
    Hypothesis("hidden-bias-missing", "the hidden bias (bias_hh) is missing", _CELLS,
               lambda op, _: _edited(op, _without_hidden), _whole),
    Hypothesis("input-bias-missing", "the input bias (bias_ih) is missing", _CELLS,
               lambda op, _: _edited(op, _without_input), _whole),
    Hypothesis("biases-swapped", "bias_ih and bias_hh swapped", ("gru",),
               lambda op, _: _edited(op, lambda w: [w[0], w[1], w[3], w[2]]), _whole),
    Hypothesis("initial-state-missing", "the initial state is zero in place of the given one", _CELLS,
               lambda op, _: op.run(hx=None), lambda op: (None,) if op["hx"] is not None else ()),
    Hypothesis("batch-first", "batch and time confused (batch_first)", _CELLS, _with_axes_swapped),
    Hypothesis("gate-order", "gates read as {value} in place of rzn", ("gru",),
               lambda op, order: _edited(op, lambda w: _gates_in(w, order, "rzn")), lambda op: _GRU),
    Hypothesis("update-gate-inverted", "z in place of 1 - z in the update", ("gru",),
               lambda op, _: _edited(op, _with_update_inverted)),
    Hypothesis("reset-before", "the reset gate is applied before the hidden product (reset_after=False)", ("gru",),
               lambda op, _: op.run(reset_before=True), _whole),
    Hypothesis("gate-order", "gates read as {value} in place of ifgo", ("lstm",),
               lambda op, order: _edited(op, lambda w: _gates_in(w, order, "ifgo")), lambda op: _LSTM),
    Hypothesis("forget-bias", "1 added to the bias of the forget gate", ("lstm",),
               lambda op, _: _edited(op, _with_open_forget_gate), _whole),
    Hypothesis("hidden-bias-missing-in", "the hidden bias (bias_hh) of layer {value[1]} is missing", _CELLS,
               lambda op, part: _edited(op, _without_hidden, part[0]), _parts),
    Hypothesis("input-bias-missing-in", "the input bias (bias_ih) of layer {value[1]} is missing", _CELLS,
               lambda op, part: _edited(op, _without_input, part[0]), _parts),
]

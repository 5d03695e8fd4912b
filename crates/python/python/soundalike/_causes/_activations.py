"""Activations in place of each other."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ._hypothesis import Hypothesis, Parameter, Replay
from ._operation import Kind, Operation


def _gelu(input: Tensor, approximate: str = "none") -> Tensor:
    return F.gelu(input, approximate=approximate)


def _leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    return F.leaky_relu(input, negative_slope)


def _elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    return F.elu(input, alpha)


def _softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    return F.softplus(input, beta, threshold)


def _hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    return F.hardtanh(input, min_val, max_val)


def _prelu(input: Tensor, weight: Tensor) -> Tensor:
    return F.prelu(input, weight)


def _glu(input: Tensor, dim: int = -1) -> Tensor:
    return F.glu(input, dim)


_FORMS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "gelu-erf": ("GELU by erf", lambda x: F.gelu(x)),
    "gelu-tanh": ("the tanh form of GELU", lambda x: F.gelu(x, approximate="tanh")),
    "gelu-quick": ("the quick form of GELU (x sigmoid(1.702 x))", lambda x: x * torch.sigmoid(1.702 * x)),
    "silu": ("SiLU", F.silu),
    "mish": ("Mish", F.mish),
    "relu": ("ReLU", F.relu),
    "relu6": ("ReLU6", F.relu6),
    "leaky-relu": ("LeakyReLU of slope 0.01", lambda x: F.leaky_relu(x, 0.01)),
    "elu": ("ELU", F.elu),
    "selu": ("SELU", F.selu),
    "hardswish": ("Hardswish", F.hardswish),
    "hardsigmoid": ("Hardsigmoid (x / 6 + 0.5)", F.hardsigmoid),
    "hardsigmoid-0.2": ("Hardsigmoid in the form 0.2 x + 0.5", lambda x: (0.2 * x + 0.5).clamp(0, 1)),
    "sigmoid": ("sigmoid", torch.sigmoid),
    "tanh": ("tanh", torch.tanh),
    "hardtanh": ("clipped to -1..1 (Hardtanh)", F.hardtanh),
    "softplus": ("Softplus", F.softplus),
    "softsign": ("Softsign", F.softsign),
    "exp": ("exp", torch.exp),
}
# Functions and modules with nothing but an input.
_PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "ReLU": F.relu, "relu": F.relu, "ReLU6": F.relu6, "relu6": F.relu6, "SiLU": F.silu, "silu": F.silu, "Mish": F.mish,
    "mish": F.mish, "SELU": F.selu, "selu": F.selu, "Hardswish": F.hardswish, "hardswish": F.hardswish,
    "Hardsigmoid": F.hardsigmoid, "hardsigmoid": F.hardsigmoid, "Sigmoid": torch.sigmoid, "sigmoid": torch.sigmoid,
    "Tanh": torch.tanh, "tanh": torch.tanh, "Softsign": F.softsign, "softsign": F.softsign,
    "SiLUActivation": F.silu, "QuickGELUActivation": _FORMS["gelu-quick"][1],
}


def _plain(input: Tensor, form: str, inplace: bool = False) -> Tensor:
    return _PLAIN[form](input)


_WITH: dict[str, tuple[Callable[..., Tensor], str, tuple[str, ...]]] = {
    "gelu": (_gelu, "GELU", ("approximate",)),
    "leaky_relu": (_leaky_relu, "LeakyReLU", ("negative_slope",)),
    "elu": (_elu, "ELU", ("alpha",)),
    "softplus": (_softplus, "Softplus", ("beta", "threshold")),
    "hardtanh": (_hardtanh, "Hardtanh", ("min_val", "max_val")),
    "prelu": (_prelu, "PReLU", ("weight",)),
}

KINDS = {
    **{kind: Kind("activation", _plain, constants={"form": kind}) for kind in _PLAIN},
    **{name: Kind("activation", compute, ("input", *names)) for name, (compute, _, names) in _WITH.items()},
    **{name: Kind("activation", compute, attributes=names) for compute, name, names in _WITH.values()},
    "GELUActivation": Kind("activation", _gelu),
    **{
        name: Kind("activation", _gelu, constants={"approximate": "tanh"}) for name in ("NewGELUActivation", "GELUTanh")
    },
    "glu": Kind("glu", _glu, ("input", "dim")),
    "GLU": Kind("glu", _glu, attributes=("dim",)),
}


def own(op: Operation) -> str:
    """The reference's own activation: ``LeakyReLU(negative_slope=0.2)``."""
    if "form" in op.operands:
        return str(op["form"])
    name, operands = next((name, operands) for compute, name, operands in _WITH.values() if compute is op.compute)
    if name == "GELU":
        return "the tanh form" if op["approximate"] == "tanh" else "erf"
    numbers = [f"{operand}={op[operand]:g}" for operand in operands if not isinstance(op[operand], Tensor)]
    return f"{name}({', '.join(numbers)})" if numbers else name


# The cheap forms of an activation.
_CHEAP = {
    "tanh": ("hardtanh",),
    "sigmoid": ("hardsigmoid", "hardsigmoid-0.2"),
    "silu": ("hardswish",),
    "erf": ("gelu-tanh", "gelu-quick"),
}


def _cheap(id: str) -> Callable[[Operation], bool]:
    return lambda op: id in _CHEAP.get(own(op).lower(), ())


def _replaced(form: Callable[[Tensor], Tensor]) -> Replay:
    return lambda op, _: form(op["input"])


def _number(name: str) -> Callable[[Operation], float | None]:
    return lambda op: float(op[name]) if name in op.operands else None


def _halves(op: Operation) -> tuple[Tensor, Tensor]:
    first, second = op["input"].chunk(2, op["dim"])
    return first, second


_ACTIVATION = ("activation",)

HYPOTHESES = [
    *[
        Hypothesis(id, words + " in place of {value}", _ACTIVATION, _replaced(f), lambda op: [own(op)],
                   is_likely=_cheap(id))
        for id, (words, f) in _FORMS.items()
    ],
    Hypothesis("activation-missing", "the activation is missing", _ACTIVATION, lambda op, _: op["input"]),
    Hypothesis("activation-twice", "the activation is applied twice", _ACTIVATION,
               lambda op, _: op.run(input=op.run())),
    Hypothesis("activation-of-minus", "the input has the other sign", _ACTIVATION,
               lambda op, _: op.run(input=-op["input"])),
    Hypothesis("prelu-slope", "the slope of the first channel in all channels", _ACTIVATION,
               lambda op, _: op.run(weight=op["weight"][:1]), lambda op: [None] if "weight" in op.operands else []),
    Hypothesis("glu-halves", "the halves of the input swapped", ("glu",),
               lambda op, _: torch.sigmoid(_halves(op)[0]) * _halves(op)[1]),
    Hypothesis("glu-silu", "SiLU in place of sigmoid in the gate", ("glu",),
               lambda op, _: _halves(op)[0] * F.silu(_halves(op)[1])),
    Hypothesis("glu-gate-missing", "the gate without its sigmoid", ("glu",),
               lambda op, _: _halves(op)[0] * _halves(op)[1]),
]

PARAMETERS = [
    Parameter("negative-slope", "a negative slope", _ACTIVATION, lambda op, value: op.run(negative_slope=value),
              _number("negative_slope")),
    Parameter("elu-alpha", "an alpha", _ACTIVATION, lambda op, value: op.run(alpha=value), _number("alpha")),
    Parameter("softplus-beta", "a beta", _ACTIVATION, lambda op, value: op.run(beta=value), _number("beta"),
              (0.5, 2.0), 1e-3),
]

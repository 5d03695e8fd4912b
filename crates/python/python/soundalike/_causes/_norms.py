"""Norms: their statistics, their eps and their affine part."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ._hypothesis import Hypothesis, Parameter, given
from ._operation import Kind, Operation


def _normalised(
    x: Tensor,
    axes: tuple[int, ...],
    eps: float | None,
    weight: Tensor | None,
    bias: Tensor | None,
    given: tuple[Tensor, Tensor] | None = None,
    centred: bool = True,
    correction: int = 0,
    eps_outside: bool = False,
) -> Tensor:
    """``x`` less its mean, over its deviation, along ``axes``. ``weight`` and ``bias`` have a shape that broadcasts."""
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    if given is None:
        mean = x.mean(axes, keepdim=True) if centred else torch.zeros((), dtype=x.dtype)
        count = 1
        for axis in axes:
            count *= x.shape[axis]
        variance = (x - mean).square().sum(axes, keepdim=True) / (count - correction)
    else:
        mean, variance = given
    scale = variance.sqrt() + eps if eps_outside else (variance + eps).sqrt()
    y = (x - mean) / scale
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _layer_norm(
    input: Tensor,
    normalized_shape: tuple[int, ...] | int | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float | None = 1e-5,
    axes: tuple[int, ...] | None = None,
    **how: Any,
) -> Tensor:
    shape = weight.shape if normalized_shape is None and weight is not None else normalized_shape
    count = 1 if isinstance(shape, int) or shape is None else len(shape)
    return _normalised(input, axes or tuple(range(-count, 0)), eps, weight, bias, **how)


def _rms_norm(
    input: Tensor,
    normalized_shape: tuple[int, ...] | int | None = None,
    weight: Tensor | None = None,
    eps: float | None = None,
    bias: Tensor | None = None,
    centred: bool = False,
    **how: Any,
) -> Tensor:
    return _layer_norm(input, normalized_shape, weight, bias, eps, centred=centred, **how)


def _by_channel(x: Tensor | None, ndim: int) -> Tensor | None:
    return None if x is None else x.reshape(1, -1, *[1] * (ndim - 2))


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    axes: tuple[int, ...] | None = None,
    **how: Any,
) -> Tensor:
    n = input.ndim
    affine = _by_channel(weight, n), _by_channel(bias, n)
    mean, variance = _by_channel(running_mean, n), _by_channel(running_var, n)
    running = None if training or axes or mean is None or variance is None else (mean, variance)
    return _normalised(input, axes or (0, *range(2, n)), eps, *affine, given=running, **how)


def _instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
    axes: tuple[int, ...] | None = None,
    **how: Any,
) -> Tensor:
    axes = axes or tuple(range(2, input.ndim))
    training = use_input_stats or running_mean is None
    return _batch_norm(
        input, running_mean, running_var, weight, bias, training, momentum, eps, axes if training else None, **how
    )


def _group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    interleaved: bool = False,
    axes: tuple[int, ...] | None = None,
    **how: Any,
) -> Tensor:
    batch, channels = input.shape[:2]
    if axes is not None:
        return _normalised(input, axes, eps, _by_channel(weight, input.ndim), _by_channel(bias, input.ndim), **how)
    split = (batch, channels // num_groups, num_groups) if interleaved else (batch, num_groups, channels // num_groups)
    grouped = input.reshape(*split, -1)
    y = _normalised(grouped, (1, 3) if interleaved else (2, 3), eps, None, None, **how).reshape(input.shape)
    scale, offset = _by_channel(weight, input.ndim), _by_channel(bias, input.ndim)
    y = y if scale is None else y * scale
    return y if offset is None else y + offset


_RUNNING = ("running_mean", "running_var", "weight", "bias", "eps")

KINDS = {
    "LayerNorm": Kind("norm", _layer_norm, attributes=("normalized_shape", "weight", "bias", "eps")),
    "layer_norm": Kind("norm", _layer_norm, ("input", "normalized_shape", "weight", "bias", "eps")),
    "RMSNorm": Kind("norm", _rms_norm, attributes=("weight", "eps|variance_epsilon")),
    "rms_norm": Kind("norm", _rms_norm, ("input", "normalized_shape", "weight", "eps")),
    **{f"BatchNorm{n}d": Kind("norm", _batch_norm, attributes=(*_RUNNING, "training")) for n in (1, 2, 3)},
    "batch_norm": Kind(
        "norm", _batch_norm, ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    ),
    **{
        f"InstanceNorm{n}d": Kind("norm", _instance_norm, attributes=(*_RUNNING, "use_input_stats|training"))
        for n in (1, 2, 3)
    },
    "instance_norm": Kind(
        "norm",
        _instance_norm,
        ("input", "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps"),
    ),
    "GroupNorm": Kind("norm", _group_norm, attributes=("num_groups", "weight", "bias", "eps")),
    "group_norm": Kind("norm", _group_norm, ("input", "num_groups", "weight", "bias", "eps")),
}


def _has_own_statistics(op: Operation) -> bool:
    running = op.has("running_mean") and not op.has("training") and not op.operands.get("use_input_stats")
    return not running


def _with_statistics(op: Operation) -> tuple[None, ...]:
    return (None,) if _has_own_statistics(op) else ()


def _with_running(op: Operation) -> tuple[None, ...]:
    return () if _has_own_statistics(op) else (None,)


def _batch(op: Operation, _: None) -> Tensor:
    return op.run(training=True) if "training" in op.operands else op.run(use_input_stats=True)


def _other_axes(op: Operation) -> Iterator[str]:
    n = op["input"].ndim
    if "num_groups" in op.operands:
        # All groups of adjacent channels are tried by their number.
        yield "1"
        yield ", ".join(map(str, (0, *range(2, n))))
        return
    if not _has_own_statistics(op):
        return
    for axes in [(axis,) for axis in range(n)] + [
        tuple(range(1, n)),
        (0, *range(2, n)),
        tuple(range(2, n)),
        tuple(range(n)),
    ]:
        if axes:
            yield ", ".join(map(str, axes))


def _other_groups(op: Operation) -> Iterator[int]:
    if "num_groups" in op.operands:
        channels = op["input"].shape[1]
        yield from (n for n in range(1, channels + 1) if channels % n == 0 and n != op["num_groups"])


def _axes_of_statistics(op: Operation) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Other axes for all means and variances of a module."""
    seen: list[tuple[int, ...]] = []
    op.run(seen=seen)
    n = op["input"].ndim
    own = set(seen)
    if len(own) == 1:
        others = [(axis,) for axis in range(n)] + [tuple(range(1, n)), (0, *range(2, n)), tuple(range(2, n))]
        for axes in dict.fromkeys(others):
            if axes and axes not in own:
                yield ", ".join(map(str, axes)), ", ".join(map(str, seen[0])), axes


def _features(op: Operation) -> int:
    by_channel = "num_groups" in op.operands or "running_mean" in op.operands
    return 1 if by_channel else op["input"].ndim - 1


def _halves(op: Operation) -> tuple[int, ...]:
    count = op["input"].shape[_features(op)]
    return (count // 2,) if count % 2 == 0 and count > 2 else ()


def _scales(op: Operation) -> float | None:
    eps = op.operands.get("eps")
    return None if eps is None else float(eps)


def _eps_of_deviation(op: Operation) -> Iterator[float]:
    """Its own, and those in use."""
    if _has_own_statistics(op) and op.has("eps"):
        yield from dict.fromkeys((float(op["eps"]), 1e-5, 1e-6, 1e-8))


_NORM = ("norm",)

HYPOTHESES = [
    Hypothesis("eps-missing", "no eps in place of {eps:g}", _NORM, lambda op, _: op.run(eps=0.0), given("eps")),
    Hypothesis("eps-outside", "eps added outside the root", _NORM, lambda op, _: op.run(eps_outside=True)),
    Hypothesis("unbiased-variance", "the unbiased variance in place of the biased one", _NORM,
               lambda op, _: op.run(correction=1), _with_statistics),
    Hypothesis("deviation", "the standard deviation of n - 1, with eps added outside the root", _NORM,
               lambda op, eps: op.run(correction=1, eps_outside=True, eps=eps), _eps_of_deviation),
    Hypothesis("affine-missing", "without weight and bias", _NORM, lambda op, _: op.run(weight=None, bias=None),
               given("weight", "bias")),
    Hypothesis("weight-missing", "the weight is missing", _NORM, lambda op, _: op.run(weight=None), given("weight")),
    Hypothesis("bias-missing", "the bias is missing", _NORM, lambda op, _: op.run(bias=None), given("bias")),
    Hypothesis("weight-plus-one", "1 + weight in place of the weight", _NORM,
               lambda op, _: op.run(weight=1 + op["weight"]), given("weight")),
    Hypothesis("mean-kept", "the mean is not subtracted", _NORM, lambda op, _: op.run(centred=False),
               lambda op: () if op.operands.get("centred") is False else _with_statistics(op)),
    Hypothesis("mean-subtracted", "the mean is subtracted, as in a layer norm", _NORM,
               lambda op, _: op.run(centred=True), lambda op: (None,) if op.operands.get("centred") is False else ()),
    Hypothesis("batch-statistics", "the statistics of the batch in place of the running ones (training mode)", _NORM,
               _batch, _with_running),
    Hypothesis("running-statistics-missing", "running statistics of mean 0 and variance 1", _NORM,
               lambda op, _: op.run(running_mean=torch.zeros_like(op["running_mean"]),
                                    running_var=torch.ones_like(op["running_var"])), _with_running),
    Hypothesis("deviation-as-variance", "the running variance used as a standard deviation", _NORM,
               lambda op, _: op.run(running_var=op["running_var"].square()), _with_running),
    Hypothesis("normalised-axes", "normalised over axes {value}", _NORM,
               lambda op, axes: op.run(axes=tuple(map(int, axes.split(", ")))), _other_axes),
    Hypothesis("group-count", "{value} groups in place of {num_groups}", _NORM,
               lambda op, n: op.run(num_groups=n), _other_groups),
    Hypothesis("groups-interleaved", "groups of every {num_groups}th channel in place of adjacent ones", _NORM,
               lambda op, _: op.run(interleaved=True), given("num_groups")),
    Hypothesis("features-moved", "the halves of the input features are swapped: a concatenation in another order", _NORM,
               lambda op, by: op.run(input=op["input"].roll(by, _features(op))), _halves),
    Hypothesis("statistics-axes", "statistics over axes {value[0]} in place of {value[1]}", ("module",),
               lambda op, axes: op.run(axes=axes[2]), _axes_of_statistics),
]

PARAMETERS = [
    Parameter("eps", "an eps", _NORM, lambda op, value: op.run(eps=value), _scales,
              tuple(10.0**-n for n in range(12, 0, -1)), 0.0),
]

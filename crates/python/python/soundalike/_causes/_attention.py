"""Softmax, attention and masks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ._hypothesis import Hypothesis, Parameter, absent, given
from ._operation import Kind, Operation


def _softmax(input: Tensor, dim: int | None = None, **_: Any) -> Tensor:
    return torch.softmax(input, _usual_axis(input, dim))


def _log_softmax(input: Tensor, dim: int | None = None, **_: Any) -> Tensor:
    return torch.log_softmax(input, _usual_axis(input, dim))


def _usual_axis(input: Tensor, dim: int | None) -> int:
    return (0 if input.ndim in (0, 1, 3) else 1) if dim is None else dim


def _masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    return input.masked_fill(mask, float(value))


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    softmax_dim: int = -1,
    lower_right: bool = False,
) -> Tensor:
    if enable_gqa:
        key, value = (x.repeat_interleave(query.shape[-3] // x.shape[-3], -3) for x in (key, value))
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = query @ key.transpose(-1, -2) * scale
    if is_causal:
        after = key.shape[-2] - query.shape[-2] if lower_right else 0
        ahead = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1 + after)
        scores = scores.masked_fill(ahead, -math.inf)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return torch.softmax(scores, softmax_dim) @ value


def _multihead(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    in_proj_weight: Tensor,
    in_proj_bias: Tensor | None,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    num_heads: int,
    batch_first: bool = False,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
    scale: float | None = None,
    order: str = "qkv",
    interleaved: bool = False,
) -> Tensor:
    if not batch_first:
        query, key, value = (x.transpose(0, 1) for x in (query, key, value))
    weights = dict(zip(order, in_proj_weight.chunk(3)))
    biases = dict(zip(order, in_proj_bias.chunk(3))) if in_proj_bias is not None else {}

    def heads(x: Tensor, which: str) -> Tensor:
        y = torch.nn.functional.linear(x, weights[which], biases.get(which))
        if interleaved:
            return torch.unflatten(y, -1, (-1, num_heads)).permute(0, 3, 1, 2)
        return torch.unflatten(y, -1, (num_heads, -1)).transpose(1, 2)

    mask = None
    if key_padding_mask is not None:
        mask = _additive(key_padding_mask, query.dtype)[:, None, None]
    if attn_mask is not None:
        more = _additive(attn_mask, query.dtype)
        more = torch.unflatten(more, 0, (-1, num_heads)) if more.ndim == 3 else more
        mask = more if mask is None else mask + more
    y = _attention(heads(query, "q"), heads(key, "k"), heads(value, "v"), mask, scale=scale)
    y = torch.nn.functional.linear(y.transpose(1, 2).flatten(2), out_proj_weight, out_proj_bias)
    return y if batch_first else y.transpose(0, 1)


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask as numbers to add. In this module, True is what is masked."""
    return torch.zeros(mask.shape, dtype=dtype).masked_fill(mask, -math.inf) if mask.dtype == torch.bool else mask


_ATTENTION = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
_PROJECTIONS = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias", "num_heads", "batch_first")

KINDS = {
    "Softmax": Kind("softmax", _softmax, attributes=("dim",)),
    "softmax": Kind("softmax", _softmax, ("input", "dim")),
    "LogSoftmax": Kind("log_softmax", _log_softmax, attributes=("dim",)),
    "log_softmax": Kind("log_softmax", _log_softmax, ("input", "dim")),
    "masked_fill": Kind("masked_fill", _masked_fill, ("input", "mask", "value")),
    "scaled_dot_product_attention": Kind("attention", _attention, _ATTENTION),
    "MultiheadAttention": Kind(
        "multihead",
        _multihead,
        ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask", "average_attn_weights", "is_causal"),
        _PROJECTIONS,
    ),
}


def _other_axes(op: Operation) -> Iterator[int]:
    own = _usual_axis(op["input"], op["dim"]) % op["input"].ndim
    yield from (axis for axis in range(op["input"].ndim) if axis != own and op["input"].shape[axis] > 1)


def _scale(op: Operation) -> float:
    if op["scale"] is not None:
        return float(op["scale"])
    width = op["query"].shape[-1] // op.operands.get("num_heads", 1)
    return float(width**-0.5)


def _causal(op: Operation, _: None) -> Tensor:
    if op.family == "attention":
        return op.run(is_causal=True)
    axis = 1 if op["batch_first"] else 0
    ahead = torch.ones(op["query"].shape[axis], op["key"].shape[axis], dtype=torch.bool).triu(1)
    return op.run(attn_mask=ahead)


def _inverted(op: Operation) -> tuple[None, ...]:
    mask = op.operands.get("attn_mask")
    return (None,) if isinstance(mask, Tensor) and mask.dtype == torch.bool else ()


_SOFTMAX = ("softmax", "log_softmax")
_ATTENTIONS = ("attention", "multihead")
_LOG = ("log_softmax",)

HYPOTHESES = [
    Hypothesis("softmax-axis", "over axis {value} in place of {dim}", _SOFTMAX,
               lambda op, axis: op.run(dim=axis), _other_axes),
    Hypothesis("softmax-missing", "the softmax is missing", _SOFTMAX, lambda op, _: op["input"]),
    Hypothesis("softmax-twice", "applied twice", _SOFTMAX, lambda op, _: op.run(input=op.run())),
    Hypothesis("sigmoid-for-softmax", "sigmoid in place of softmax", _SOFTMAX,
               lambda op, _: torch.sigmoid(op["input"])),
    Hypothesis("log-missing", "the logarithm is missing", _LOG, lambda op, _: op.run().exp()),
    Hypothesis("log-of-2", "the logarithm of base 2 in place of the natural one", _LOG,
               lambda op, _: op.run() / math.log(2)),
    Hypothesis("log-of-10", "the logarithm of base 10 in place of the natural one", _LOG,
               lambda op, _: op.run() / math.log(10)),
    Hypothesis("log-taken", "the logarithm is taken", ("softmax",), lambda op, _: op.run().log()),
    Hypothesis("exp-not-normalised", "not divided by the sum", ("softmax",), lambda op, _: op["input"].exp()),
    Hypothesis("scale-missing", "the scores are not scaled by 1 / sqrt(width)", _ATTENTIONS,
               lambda op, _: op.run(scale=1.0)),
    Hypothesis("scale-twice", "the scores are scaled twice", _ATTENTIONS, lambda op, _: op.run(scale=_scale(op) ** 2)),
    Hypothesis("mask-missing", "the mask is missing", _ATTENTIONS,
               lambda op, _: op.run(attn_mask=None), given("attn_mask")),
    Hypothesis("padding-mask-missing", "the mask of the padding is missing", ("multihead",),
               lambda op, _: op.run(key_padding_mask=None), given("key_padding_mask")),
    Hypothesis("mask-inverted", "the mask is inverted", _ATTENTIONS,
               lambda op, _: op.run(attn_mask=~op["attn_mask"]), _inverted),
    Hypothesis("causal-missing", "not causal", ("attention",),
               lambda op, _: op.run(is_causal=False), given("is_causal")),
    Hypothesis("causal", "a causal mask is added", _ATTENTIONS, _causal, absent("is_causal")),
    Hypothesis("causal-corner", "the causal mask starts at the lower right corner", ("attention",),
               lambda op, _: op.run(lower_right=True), given("is_causal")),
    Hypothesis("attention-axis", "softmax over the queries in place of the keys", ("attention",),
               lambda op, _: op.run(softmax_dim=-2)),
    Hypothesis("key-for-value", "key and value swapped", ("attention",),
               lambda op, _: op.run(key=op["value"], value=op["key"])),
    Hypothesis("query-for-key", "query and key swapped", ("attention",),
               lambda op, _: op.run(query=op["key"], key=op["query"])),
    Hypothesis("projection-order", "projections in the order {value} in place of qkv", ("multihead",),
               lambda op, order: op.run(order=order), lambda op: ("kqv", "vkq", "qvk", "kvq", "vqk")),
    Hypothesis("heads-interleaved", "heads interleaved in place of one after the other", ("multihead",),
               lambda op, _: op.run(interleaved=True)),
    Hypothesis("projection-bias-missing", "the bias of query, key and value is missing", ("multihead",),
               lambda op, _: op.run(in_proj_bias=None), given("in_proj_bias")),
    Hypothesis("output-bias-missing", "the bias of the output is missing", ("multihead",),
               lambda op, _: op.run(out_proj_bias=None), given("out_proj_bias")),
    Hypothesis("mask-not-filled", "nothing is masked", ("masked_fill",), lambda op, _: op["input"]),
    Hypothesis("mask-inverted", "the mask is inverted", ("masked_fill",), lambda op, _: op.run(mask=~op["mask"])),
]

PARAMETERS = [
    Parameter("temperature", "a factor before the softmax", _SOFTMAX,
              lambda op, value: op.run(input=op["input"] * value), lambda op: 1.0, (0.1, 0.3, 3.0, 10.0)),
    Parameter("attention-scale", "a scale of the scores", _ATTENTIONS, lambda op, value: op.run(scale=value), _scale),
]

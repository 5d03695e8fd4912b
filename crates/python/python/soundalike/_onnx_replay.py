"""The nodes of an ONNX reference as calls of PyTorch, for hypotheses."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ._inputs import Example
from ._onnx_graph import Provenance, onnx
from ._onnx_reference import golden_nodes
from ._replay import Replay, ways


def replays(
    path: str | os.PathLike[str], example: Example, stage: str, hidden: Collection[str], inputs: Mapping[str, list[str]]
) -> list[list[Replay]]:
    """As `_replay.replays`, of an ONNX file. `inputs`: what each stage reads."""
    calls: dict[str, Replay] = {}
    for node, needed, computed in golden_nodes(path, example):
        name = node.output[0]
        if name == stage or name in hidden:
            calls[name] = _replay(node, needed, computed[name], inputs.get(name, []))
        if stage in computed:
            break
    return ways(calls, stage, hidden)


def _replay(
    node: onnx.NodeProto, needed: Mapping[str, np.ndarray], value: np.ndarray, inputs: list[str]
) -> Replay:
    given = [torch.from_numpy(np.array(needed[name])) if name else None for name in node.input]
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    call = _CALLS.get(node.op_type)
    function, args = call(given, attributes) if call is not None and not node.domain else (None, tuple(given))
    kind = function.__name__.strip("_") if function is not None else node.op_type
    output = torch.from_numpy(np.array(value))
    return Replay(node.output[0], output, inputs, kind, None, function, args, {})


_Given = list["Tensor | None"]
_Call = tuple[Callable[..., Any], tuple[Any, ...]]


def _conv(given: _Given, attributes: Mapping[str, Any]) -> _Call:
    x, weight, bias = [*given, None][:3]
    assert weight is not None
    dims = weight.ndim - 2
    pads = attributes.get("pads", [0] * 2 * dims)
    sides = list(zip(pads[:dims], pads[dims:]))
    function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[dims]
    ones = (1,) * dims
    stride, dilation = tuple(attributes.get("strides", ones)), tuple(attributes.get("dilations", ones))
    return function, (x, weight, bias, stride, sides, dilation, attributes.get("group", 1))


def _gemm(given: _Given, attributes: Mapping[str, Any]) -> _Call:
    x, weight, bias = [*given, None][:3]
    assert x is not None and weight is not None
    x = x.T if attributes.get("transA") else x
    weight = weight if attributes.get("transB") else weight.T
    bias = None if bias is None else bias * attributes.get("beta", 1.0)
    return F.linear, (x * attributes.get("alpha", 1.0), weight, bias)


def _batch_norm(given: _Given, attributes: Mapping[str, Any]) -> _Call:
    x, weight, bias, mean, variance = given
    return F.batch_norm, (x, mean, variance, weight, bias, False, 0.1, attributes.get("epsilon", 1e-5))


def _layer_norm(given: _Given, attributes: Mapping[str, Any]) -> _Call:
    x, weight, bias = [*given, None][:3]
    assert x is not None
    axis = attributes.get("axis", -1)
    return F.layer_norm, (x, tuple(x.shape[axis:]), weight, bias, attributes.get("epsilon", 1e-5))


def _softmax(given: _Given, attributes: Mapping[str, Any]) -> _Call:
    return F.softmax, (given[0], attributes.get("axis", -1))


def _leaky_relu(given: _Given, attributes: Mapping[str, Any]) -> _Call:
    return F.leaky_relu, (given[0], attributes.get("alpha", 0.01))


def _plain(function: Callable[..., Any]) -> Callable[[_Given, Mapping[str, Any]], _Call]:
    return lambda given, attributes: (function, tuple(given))


_CALLS: dict[str, Callable[[_Given, Mapping[str, Any]], _Call]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Softmax": _softmax,
    "LeakyRelu": _leaky_relu,
    "Add": _plain(torch.add),
    "Sub": _plain(torch.sub),
    "Mul": _plain(torch.mul),
    "Div": _plain(torch.div),
    "MatMul": _plain(torch.matmul),
    "Relu": _plain(F.relu),
    "Sigmoid": _plain(torch.sigmoid),
    "Tanh": _plain(torch.tanh),
    "Exp": _plain(torch.exp),
    "Sqrt": _plain(torch.sqrt),
    "Log": _plain(torch.log),
}

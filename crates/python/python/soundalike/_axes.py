"""The axes of a stage: which holds the channels, and which the frames."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from ._runner import Step

_SPACE = {1: ["time"], 2: ["height", "width"], 3: ["depth", "height", "width"]}
_FEATURES_LAST = {"Linear", "LayerNorm", "Embedding", "MultiheadAttention", "linear", "layer_norm", "embedding"}


@dataclass(frozen=True)
class Axes:
    """The axes of a stage as a manifest has them."""

    shape: tuple[int, ...]
    names: list[str]
    channel: int
    frame: int | None

    @staticmethod
    def of(step: Step, inputs: Iterable[Axes]) -> Axes:
        """The axes of a stage. Where its kind does not tell, they are those of the first of `inputs` with its shape."""
        shape = tuple(step.value.shape)
        dimensions = _dimensions(step)
        if dimensions and len(shape) == dimensions + 2:
            return _channels_first(shape, ["batch", "channel", *_SPACE[dimensions]])
        if dimensions and len(shape) == dimensions + 1 and step.kind != "BatchNorm1d":
            return _channels_first(shape, ["channel", *_SPACE[dimensions]])
        if isinstance(step.module, nn.RNNBase) and len(shape) == 3:
            return _recurrent(shape, step)
        if step.kind not in _FEATURES_LAST:
            for axes in inputs:
                if axes.shape == shape:
                    return axes
        return _features_last(shape)


def _dimensions(step: Step) -> int | None:
    """Dimensions of the space of a convolution, a pooling or their norm: 2 of ``Conv2d`` and ``max_pool2d``."""
    if step.kind in ("GroupNorm", "group_norm"):
        return step.value.ndim - 2 if step.value.ndim - 2 in _SPACE else None
    named = re.search(r"([123])d$", step.kind)
    return int(named[1]) if named else None


def _channels_first(shape: tuple[int, ...], names: list[str]) -> Axes:
    return Axes(shape, names, names.index("channel"), len(shape) - 1)


def _recurrent(shape: tuple[int, ...], step: Step) -> Axes:
    """[batch, frame, feature] or [frame, batch, feature]; a state is [layer, batch, feature]."""
    assert isinstance(step.module, nn.RNNBase)
    if re.search(r":\d+$", step.name):
        return Axes(shape, ["layer", "batch", "feature"], 2, None)
    if step.module.batch_first:
        return Axes(shape, ["batch", "frame", "feature"], 2, 1)
    return Axes(shape, ["frame", "batch", "feature"], 2, 0)


def _features_last(shape: tuple[int, ...]) -> Axes:
    rank = len(shape)
    names = ["batch", *["_"] * (rank - 3), "frame", "feature"] if rank > 2 else ["batch", "feature"][2 - rank :]
    return Axes(shape, names, max(rank - 1, 0), rank - 2 if rank > 2 else None)

"""Norms on inputs without variance, e.g. silence: they scale up nothing but rounding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ._runner import Step

# Below this part of eps, a variance has no effect on what the norm divides by.
_DEGENERATE = 1e-4

_INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


def is_norm(step: Step) -> bool:
    """Whether the stage divides its input by the deviation of that input. A batch norm divides by a constant."""
    module: Any = step.module
    if type(module) in _INSTANCE_NORMS:
        return not module.track_running_stats
    return type(module) in (nn.LayerNorm, nn.GroupNorm)


def is_degenerate(step: Step) -> bool:
    """Whether no group of values that the norm divides has a variance."""
    module: Any = step.module
    variance = _groups(step).var(-1, unbiased=False)
    return bool((variance < _DEGENERATE * module.eps).all())


def reference_norm(step: Step) -> Tensor:
    """The output of the norm from elementary operations, in the dtype of its input: as right as PyTorch's own, with
    other rounding."""
    module: Any = step.module
    groups = _groups(step)
    centred = groups - groups.mean(-1, keepdim=True)
    variance = (centred * centred).mean(-1, keepdim=True)
    output = (centred / torch.sqrt(variance + module.eps)).reshape(step.value.shape)
    for parameter, apply in ((module.weight, torch.mul), (module.bias, torch.add)):
        if isinstance(parameter, Tensor):
            output = apply(output, _along_channels(parameter, module, output))
    return output


def _groups(step: Step) -> Tensor:
    """The input `[..., values]`: each row is normalised by itself."""
    module = step.module
    x: Tensor = step.args[0]
    if isinstance(module, nn.LayerNorm):
        return x.flatten(-len(module.normalized_shape))
    if isinstance(module, nn.GroupNorm):
        return x.reshape(len(x), module.num_groups, -1)
    return x.flatten(_channel_axis(module, x) + 1)


def _along_channels(parameter: Tensor, module: nn.Module | None, x: Tensor) -> Tensor:
    if isinstance(module, nn.LayerNorm):
        return parameter
    return parameter.reshape(-1, *[1] * (x.ndim - 1 - _channel_axis(module, x)))


def _channel_axis(module: nn.Module | None, x: Tensor) -> int:
    """Instance norms take inputs without batch, too."""
    for spatial, kind in enumerate(_INSTANCE_NORMS, 1):
        if isinstance(module, kind):
            return x.ndim - spatial - 1
    return 1

"""A stage of a network with its golden arguments, for hypotheses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from ._inputs import Example
from ._runner import Runner, Step

_T = TypeVar("_T")




def at_stage(module: nn.Module, example: Example, stage: str, use: Callable[[Step], _T]) -> _T | None:
    """What `use` makes of the call that computes `stage`, in f64; None where the stage is a later output of a call."""
    own = copy.deepcopy(module).cpu().double().eval()
    found: list[_T] = []

    def see(step: Step) -> Tensor | None:
        if step.name == stage:
            # Arguments must not be kept: they are used here.
            found.append(use(step))
        return None

    with torch.no_grad():
        Runner(own, torch.float64).run(example, see)
    return found[0] if found else None

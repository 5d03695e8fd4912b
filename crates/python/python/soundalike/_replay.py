"""The calls of a network that compute a stage, with golden arguments, for hypotheses."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ._inputs import Example
from ._runner import Runner, Step


@dataclass(frozen=True)
class Replay:
    """A call that can be made again, in f64."""

    name: str
    """The stage that it computes."""
    value: Tensor
    """The stage."""
    inputs: list[str]
    """The stages that it reads."""
    kind: str
    module: nn.Module | None
    function: Callable[..., Any] | None
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @staticmethod
    def of(step: Step) -> Replay:
        args, kwargs = copy.deepcopy((step.args, dict(step.kwargs)))
        return Replay(step.name, step.value, step.inputs, step.kind, step.module, step.function, args, kwargs)

    def with_input(self, old: Tensor, new: Tensor) -> Tensor:
        """The output where the argument `old` is `new`.

        Raises:
            ValueError: if it has no such argument, or not one output.
        """
        replaced = [False]

        def change(value: Any) -> Any:
            if isinstance(value, Tensor) and value.shape == old.shape and torch.equal(value, old):
                replaced[0] = True
                return new.to(value.dtype, copy=True)  # the call may write into it
            return value.clone() if isinstance(value, Tensor) else value

        args = [change(value) for value in self.args]
        kwargs = {name: change(value) for name, value in self.kwargs.items()}
        compute = self.module if self.module is not None else self.function
        result = compute(*args, **kwargs) if compute is not None and replaced[0] else None
        if not isinstance(result, Tensor):
            raise ValueError(f"{self.name}: is not computed from this tensor alone")
        return result


def replays(module: nn.Module, example: Example, stage: str, hidden: Collection[str]) -> list[list[Replay]]:
    """The calls that compute `stage`, in f64: first the one itself, then each way to it from a stage in `hidden`,
    nearest first, the call of that stage first. Empty where the stage is a later output of a call.
    """
    own = copy.deepcopy(module).cpu().double().eval()
    calls: dict[str, Replay] = {}

    def see(step: Step) -> Tensor | None:
        if step.name == stage or step.name in hidden:
            calls[step.name] = Replay.of(step)
        return None

    with torch.no_grad():
        Runner(own, torch.float64).run(example, see)
    return ways(calls, stage, hidden)


def ways(calls: Mapping[str, Replay], stage: str, hidden: Collection[str]) -> list[list[Replay]]:
    """The call of `stage`, and each way to it from a stage in `hidden`, as `replays` returns them."""
    found = [[calls[stage]]] if stage in calls else []
    for way in found:  # grows
        found += [[calls[name], *way] for name in way[0].inputs if name in calls and name in hidden]
    return found


def along(way: list[Replay]) -> Callable[[Tensor], Tensor]:
    """Computes the last stage of a way from the output of its first call."""

    def then(output: Tensor) -> Tensor:
        for before, call in zip(way, way[1:]):
            output = call.with_input(before.value, output)
        return output

    return then

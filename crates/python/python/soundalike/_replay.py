"""The calls of a network that compute a stage, with golden arguments, for hypotheses."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ._inputs import Example
from ._runner import Runner, Step

# A stage may have been computed from another one of so many before it, if they are not larger, or with the parameters of
# another one of so many modules.
_EARLIER = 24
_TWINS = 24
_ELEMENTS = 1 << 24


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
    earlier: Mapping[str, Tensor] = field(default_factory=dict)
    """Stages before it."""
    twins: Mapping[str, nn.Module] = field(default_factory=dict)
    """Other modules of its class."""

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
    earlier: deque[tuple[str, Tensor]] = deque(maxlen=_EARLIER)

    def see(step: Step) -> Tensor | None:
        if step.name == stage or step.name in hidden:
            calls[step.name] = Replay.of(step)
        if stage not in calls and step.value.numel() <= _ELEMENTS:
            earlier.append((step.name, step.value))
        return None

    with torch.no_grad():
        Runner(own, torch.float64).run(example, see)
    found = ways(calls, stage, hidden)
    if stage in calls:
        # A step that is missing is no other stage that is read.
        before_missing = {name for way in found[1:] for name in way[0].inputs}
        others = {name: value for name, value in earlier if name not in before_missing}
        found[0] = [replace(calls[stage], earlier=others, twins=_twins(own, calls[stage].module))]
    return found


def _twins(network: nn.Module, module: nn.Module | None) -> dict[str, nn.Module]:
    """The modules of the same class, the nearest first."""
    alike = [(name, other) for name, other in network.named_modules() if type(other) is type(module)]
    own = next((place for place, (_, other) in enumerate(alike) if other is module), None)
    if own is None:
        return {}
    nearest = sorted(range(len(alike)), key=lambda place: abs(place - own))
    return dict(alike[place] for place in nearest[1 : _TWINS + 1])


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

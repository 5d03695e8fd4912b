"""Modules of unknown kind, run again with other statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_STATISTICS = ("mean", "var", "std", "var_mean", "std_mean")


def run(module: nn.Module, input: Tensor, axes: tuple[int, ...] | None = None, seen: Any = None) -> Any:
    """The output of a module whose means and variances are taken over `axes`. Their own are added to `seen`."""
    with _Statistics(axes, [] if seen is None else seen):
        return module(input.clone())  # it may write into it


class _Statistics(TorchFunctionMode):
    """Moves the statistics that keep the axes they are taken over, as those of a norm do."""

    def __init__(self, axes: tuple[int, ...] | None, seen: list[tuple[int, ...]]) -> None:
        super().__init__()
        self._axes, self._seen = axes, seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        given = dict(kwargs or {})
        if getattr(func, "__name__", "") in _STATISTICS and given.get("keepdim"):
            own = given["dim"] if "dim" in given else args[1] if len(args) > 1 else None
            if isinstance(own, (int, tuple, list)) and not isinstance(own, bool):
                count = args[0].ndim
                self._seen.append(tuple(sorted(axis % count for axis in ([own] if isinstance(own, int) else own))))
                if self._axes is not None:
                    args, given = args[:1] + args[2:], {**given, "dim": self._axes}
        return func(*args, **given)

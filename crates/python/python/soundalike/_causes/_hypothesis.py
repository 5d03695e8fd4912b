"""What a line of a table of hypotheses holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from torch import Tensor

from ._operation import Operation

Replay = Callable[[Operation, Any], Tensor]
"""The output of a step with a mistake, in the variant of a value."""
Values = Callable[[Operation], Iterable[Any]]
"""The variants of a mistake in a step, the likeliest first."""


class Rank(IntEnum):
    """How simple an explanation is. Only the simplest that explain a candidate are reported."""

    MISTAKE = 0
    """A known mistake of the step, with nothing to choose."""
    FORM = 1
    """A form of the output that needs no knowledge of the step, with nothing to choose."""
    ESTIMATE = 2
    """One number was chosen to fit the candidate."""
    FITTED = 3
    """More than one number was chosen to fit the candidate."""


def once(_: Operation) -> Iterable[Any]:
    """The values of a hypothesis without variants."""
    return (None,)


def given(*names: str) -> Values:
    """The values of a hypothesis that holds only where the step has these operands (not absent, not false)."""
    return lambda op: (None,) if all(op.has(name) for name in names) else ()


def absent(name: str) -> Values:
    """The values of a hypothesis that holds only where the step does not have this operand."""
    return lambda op: () if op.has(name) else (None,)


@dataclass(frozen=True)
class Hypothesis:
    """A mistake, and how a step is computed with it."""

    id: str
    words: str
    """May contain ``{value}`` and the names of operands."""
    families: tuple[str, ...]
    """The families of steps that it is about. Empty: every step."""
    replay: Replay
    values: Values = once
    rank: Rank = Rank.MISTAKE
    is_likely: Callable[[Operation], bool] = lambda op: False
    """Whether it is more likely in this step than other hypotheses that explain a candidate as well."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a step whose value is estimated from the candidate."""

    id: str
    words: str
    """Its name: ``a negative slope``."""
    families: tuple[str, ...]
    replay: Callable[[Operation, float], Tensor]
    right: Callable[[Operation], float | None]
    """The value of the reference. None where the step has no such parameter."""
    starts: tuple[float, ...] = ()
    """Values to start from, next to the right one."""
    least: float = float("-inf")

"""Known mistakes are replayed on the reference's stage; the one that reproduces the candidate is the cause."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from .._floors import LEAST_FLOOR
from . import _signatures
from ._estimate import fit, interval_words, rms, shortest
from ._hypothesis import Hypothesis, Parameter, Rank
from ._operation import Call, Operation
from ._table import HYPOTHESES, KINDS, PARAMETERS

# The bars of a stage's verdict: exact, structural, and structural at a single index of an axis.
_EXACT_R = 4.0
_STRUCTURAL_R = 10.0
_STRUCTURAL_R_LOCAL = 32.0
# Part of an error that a hypothesis may leave unexplained because its own rounding is larger.
_UNEXPLAINED = 0.01
# Multiply-adds for all replays of a stage, and the least and the most replays.
_BUDGET = 2e10
_FEWEST, _MOST = 8, 120
# At most that long with the steps behind a folded one.
_SECONDS = 10.0

_T = TypeVar("_T")


@dataclass(frozen=True)
class Estimate:
    """The value of a parameter, estimated from the candidate's output."""

    value: float
    """With the fewest digits that the interval allows."""
    low: float
    high: float
    """Beyond the interval, the output alone changes by more than rounding."""
    right: float
    """The value of the reference."""


@dataclass(frozen=True)
class Cause:
    """The hypothesis that explains a candidate."""

    id: str
    text: str
    r: float
    """Error of the hypothesis against the candidate, in units of its rounding."""
    estimate: Estimate | None = None
    or_else: tuple[str, ...] = ()
    """Ids of other hypotheses that explain the candidate as well. The text says them, too."""
    is_description: bool = False
    """Whether more than one number was chosen to fit the candidate: it says how the error looks, not what makes it."""
    is_likely: bool = False
    """Whether it is more likely than others that explain the candidate as well."""


@dataclass(frozen=True)
class Folded:
    """How a stage is computed from an earlier step."""

    output: Tensor
    """Of the step; golden (f64)."""
    then: Callable[[Tensor], Tensor]
    """Computes the stage from another output of the step."""


def explain(
    step: Call,
    candidate: np.ndarray,
    golden: np.ndarray,
    floor: float,
    before: Mapping[str, np.ndarray] | None = None,
    folded: Folded | None = None,
) -> Cause | None:
    """The cause of a difference of a stage.

    Args:
        step: The call of the reference that computes the stage, with golden (f64) arguments.
        candidate: The candidate's teacher-forced output in the reference's layout.
        golden: The reference's golden output.
        floor: Root mean square of the error of the reference's own f32.
        before: Golden outputs of stages before it, by name, which the candidate may have returned in its place.
        folded: Where `step` is an earlier one, which the candidate has folded into the stage. Forms of the output are
            not tried then.

    Returns:
        None where the candidate is right, or where no hypothesis explains it.
    """
    ours, right = _tensor(candidate), _tensor(golden)
    if ours.shape == right.shape:
        alike = (ours == right) | (ours.isnan() & right.isnan())
        odd = ~(ours.isfinite() & right.isfinite())
        if bool((odd & ~alike).any()):
            return _not_finite(ours, right, floor)
        # Equal infinities, such as those of a mask, are right.
        ours, right = ours.masked_fill(odd, 0), right.masked_fill(odd, 0)
    else:
        odd = torch.zeros(right.shape, dtype=torch.bool)
        if not bool(ours.isfinite().all() and right.isfinite().all()):
            return None
    if not math.isfinite(floor):
        return None
    with torch.no_grad():
        if folded is not None:
            own = folded.output
            op = Operation.of(step, KINDS, own, torch.zeros(own.shape, dtype=torch.bool), own, floor)
            case = _Case(op, ours, right, floor, folded.then)
            case.limit(folded)
            return _together(case.explanations({}, (Rank.MISTAKE, Rank.ESTIMATE))) if op.family else None
        case = _Case(Operation.of(step, KINDS, right, odd, ours, floor), ours, right, floor, lambda x: x)
        if case.reproduced_by(case.right):
            return None
        return _together(case.explanations(before or {}, Rank))


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64))


def _together(causes: list[Cause]) -> Cause | None:
    """One cause of all that explain a candidate. Of the variants of a hypothesis, the best."""
    if not causes:
        return None
    best: dict[str, Cause] = {}
    for cause in sorted(causes, key=lambda cause: (not cause.is_likely, cause.r)):
        best.setdefault(cause.id, cause)
    first, *others = best.values()
    if not others:
        return first
    text = "; or ".join(cause.text for cause in best.values()) + " (cannot be told apart on this input)"
    return replace(first, text=text, or_else=tuple(cause.id for cause in others))


def _not_finite(ours: Tensor, right: Tensor, floor: float) -> Cause:
    text, id, rest = _signatures.not_finite(ours, right)
    least = max(floor, LEAST_FLOOR * rms(right[rest]))
    error = rms(ours[rest] - right[rest])
    return Cause(id, text, error / least if error else 0.0)


class _Case:
    """A stage that is to be explained by mistakes in `op`: in the stage itself, or in an earlier step."""

    def __init__(
        self, op: Operation, candidate: Tensor, right: Tensor, floor: float, then: Callable[[Tensor], Tensor]
    ) -> None:
        self.op = op
        self.candidate = candidate
        self.right = right
        self.own_floor = floor
        self.then = then
        self.op32 = op.rounded()
        self.replays = int(min(max(_BUDGET / max(op.multiply_adds, 1), _FEWEST), _MOST))
        same = candidate.shape == right.shape
        self.error = rms(candidate - right) if same else float("inf")

    def limit(self, folded: Folded) -> None:
        """Fewer replays where the steps behind take long."""
        start = time.perf_counter()
        _safely(lambda: folded.then(folded.output))
        self.replays = min(self.replays, int(_SECONDS / (time.perf_counter() - start)))

    def reproduced_by(self, golden: Tensor) -> bool:
        """Whether the candidate is the reference: neither wrong as a whole nor at a single index of an axis."""
        return self.r(golden, None, _STRUCTURAL_R) is not None

    def explanations(self, before: Mapping[str, np.ndarray], ranks: Iterable[Rank]) -> list[Cause]:
        """The simplest hypotheses that explain the candidate. Those with numbers to choose are last."""
        for rank in ranks:
            causes = self._of_rank(rank)
            if rank is Rank.FITTED:
                return [replace(cause, is_description=True) for cause in itertools.islice(causes, 1)]
            found = list(causes)
            if rank is Rank.FORM and not found:
                found = list(self._repeated(before))
            if found:
                return found
        return []

    def _of_rank(self, rank: Rank) -> Iterator[Cause]:
        for hypothesis in HYPOTHESES:
            if hypothesis.rank is rank and self._applies(hypothesis):
                yield from self._replayed(hypothesis)
        if rank is Rank.ESTIMATE:
            estimates = (self._estimated(line) for line in PARAMETERS if self._applies(line))
            yield from (cause for cause in estimates if cause is not None)

    def _repeated(self, before: Mapping[str, np.ndarray]) -> Iterator[Cause]:
        for name, array in before.items():
            golden = _tensor(array)
            if golden.shape == self.candidate.shape and bool(golden.isfinite().all()):
                r = self.r(golden, None)
                if r is not None:
                    yield Cause("repeats-a-stage", f"repeats `{name}`, a stage before it", r)

    def _applies(self, line: Hypothesis | Parameter) -> bool:
        return not line.families or self.op.family in line.families

    def _replayed(self, hypothesis: Hypothesis) -> Iterator[Cause]:
        for value in _safely(lambda: list(hypothesis.values(self.op))) or ():
            if hypothesis.rank is Rank.MISTAKE:
                self.replays -= 1
                if self.replays < 0:
                    return
            golden = _safely(lambda: self.then(hypothesis.replay(self.op, value)))
            if golden is None:
                continue
            r = self.r(golden, lambda: self.then(hypothesis.replay(self.op32, value)))
            if r is not None:
                text = hypothesis.words.format(**{**self.op.operands, "value": value})
                yield Cause(hypothesis.id, text, r, is_likely=hypothesis.is_likely(self.op))

    def _estimated(self, parameter: Parameter) -> Cause | None:
        right = parameter.right(self.op)
        if right is None or (parameter.families and self.replays <= 0):
            return None

        def replay(value: float) -> Tensor:
            return self.then(parameter.replay(self.op, value))

        found = _safely(lambda: fit(self.candidate, replay, right, parameter.starts, parameter.least))
        if found is None:
            return None
        golden = replay(found.value)
        rounded = self.then(parameter.replay(self.op32, found.value))
        reach = _EXACT_R * self.floor(golden, rounded) / found.sensitivity
        low, high = max(found.value - reach, parameter.least), found.value + reach
        value = shortest(found.value, low, high)
        r = self.r(replay(value), lambda: self.then(parameter.replay(self.op32, value)))
        if r is None:
            return None
        text = f"{parameter.words} of {interval_words(value, low, high, right)}"
        return Cause(parameter.id, text, r, Estimate(value, low, high, right))

    def floor(self, golden: Tensor, rounded: Tensor | None) -> float:
        """The rounding of the reference with a mistake: at least the relative rounding of the stage without it.

        A mistake that rounds far more must not match only because of that: it has to explain all but a hundredth of the
        error."""
        size, right = rms(golden), rms(self.right)
        usual = max(self.own_floor * size / right if right else self.own_floor, LEAST_FLOOR * size)
        own = rms(rounded.double() - golden) if rounded is not None else 0.0
        unexplained = _UNEXPLAINED * self.error / _EXACT_R if self.error < float("inf") else 0.0
        return min(max(own, usual), max(unexplained, _STRUCTURAL_R * usual))

    def r(self, golden: Tensor, rounded: Callable[[], Tensor] | None, bar: float = _EXACT_R) -> float | None:
        """The distance of the candidate from the reference with a mistake, in units of its rounding.

        None where it is not below ``bar``, or where a single index of an axis is wrong."""
        if golden.shape != self.candidate.shape:
            return None
        error = self.candidate - golden.double()
        size = rms(error)
        if size == 0:
            return 0.0
        # The largest that a floor may be: most hypotheses need no second replay.
        if not size < bar * max(_UNEXPLAINED * self.error / _EXACT_R, _STRUCTURAL_R * self.floor(golden, None)):
            return None
        low = _safely(rounded) if rounded is not None else None
        floor = self.floor(golden, low)
        if not size < bar * floor:
            return None
        own = low.double() - golden if low is not None else torch.zeros_like(error)
        relative = floor / max(rms(golden), 1e-300)
        for axis in range(error.ndim):
            if error.shape[axis] > 1:
                least = torch.maximum(_along(own, axis), relative * _along(golden.double(), axis)).clamp(min=floor)
                if bool((_along(error, axis) >= _STRUCTURAL_R_LOCAL * least).any()):
                    return None
        return size / floor


def _along(x: Tensor, axis: int) -> Tensor:
    """Root mean square at each index of an axis."""
    return x.movedim(axis, 0).flatten(1).square().mean(1).sqrt() if x.ndim > 1 else x.abs()


def _safely(replay: Callable[[], _T]) -> _T | None:
    """The result of a replay. None where the step cannot be computed with the mistake: its shapes do not fit."""
    try:
        return replay()
    except (IndexError, RuntimeError, ValueError):
        return None

"""Which tensor of a candidate is which stage, where values do not tell: found by feeding it with the reference's."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ._alignment import Match, align
from ._floors import LEAST_FLOOR, rms
from ._trace_file import Trace

# Most rounds until the stages that are found no longer change: two more than there are wrong stages in a row.
_ROUNDS = 8
# Other tensors that are tried for wrong stages, in all.
_TRIALS = 16
# Least error of a match by value that is no rounding, in units of the stage's root mean square.
_WRONG = 0.02
# From this R on, a stage is structurally wrong.
_STRUCTURAL_R = 10.0

Force = Callable[[list[Match]], "Path | None"]
"""Runs the candidate, fed at these stages; None where it cannot be forced. A path stays valid until the next run."""


@dataclass(frozen=True)
class Forced:
    """Stages that were found, and the run that was fed at them."""

    matches: list[Match]
    trace: Path | None
    wrong: list[str]
    """The stages that are structurally wrong, in order of execution."""

    @property
    def badness(self) -> tuple[int, int]:
        """The fewer stages are wrong, and the more are right, the better."""
        return len(self.wrong), len(self.wrong) - len(self.matches)


@dataclass(frozen=True)
class Search:
    """Feeds a candidate until the stages behind a wrong one are found by their values."""

    reference: Path
    inputs: Mapping[str, list[str]]
    """What each stage reads."""
    names: str | None
    """A map of names, TOML."""
    aliases: Mapping[str, str]
    """What else the candidate's tensors are called."""
    folded: Collection[str]
    """Stages that the candidate does not show, although it may have tensors of their names."""
    force: Force

    @property
    def _without(self) -> dict[str, Match | None]:
        return dict.fromkeys(self.folded)

    def run(self, matches: list[Match]) -> Forced:
        """The stages of a free run, corrected."""
        found = self._rounds(matches, self._without)
        if found.trace is None or self.names is not None:
            return found
        return self._improved(found)

    def _rounds(self, matches: list[Match], pinned: Mapping[str, Match | None]) -> Forced:
        """Looks for the stages again, with the reference's input behind the wrong ones, until they no longer change.
        `pinned` stages keep their match, or have none.
        """
        matches = _pinned(matches, pinned)
        for _ in range(_ROUNDS):
            fed = self._certain(matches)
            if len(fed) == len(matches) and not any(_is_wrong(match) for match in matches):
                break
            trace = self.force(fed)
            if trace is None:
                return Forced(matches, None, [])
            again = align(str(self.reference), str(trace), self.names, forced=True, aliases=self.aliases)
            # Not every candidate shows all of its tensors again.
            shown = Trace(trace)
            again = _pinned([*again, *(match for match in matches if match.name not in shown)], pinned)
            same = _places(again) == _places(matches) and _places(self._certain(again)) == _places(fed)
            matches = again
            if same:
                break
        return self._fed(matches)

    def _certain(self, matches: list[Match]) -> list[Match]:
        """The stages with right values, and the first wrong one on each way: what comes behind it may be mistaken for
        another stage, and would hand on the wrong value.
        """
        by_stage = {match.stage: match for match in matches}
        behind: set[str] = set()
        certain = []
        for stage, read in self.inputs.items():
            match = by_stage.get(stage)
            is_wrong = match is not None and _is_wrong(match)
            if match is not None and not (is_wrong and not behind.isdisjoint(read)):
                certain.append(match)
            # Right values are right behind a wrong stage, too.
            if is_wrong or (match is None and not behind.isdisjoint(read)):
                behind.add(stage)
        return certain

    def _fed(self, matches: list[Match]) -> Forced:
        trace = self.force(matches)
        return Forced(matches, trace, [] if trace is None else self._wrong(matches, Trace(trace)))

    def _improved(self, found: Forced) -> Forced:
        """A stage with wrong values may have been given the tensor of another one, and what reads it is then fed the
        wrong value. Tries the alternatives: the right one leaves the fewest stages wrong.
        """
        pinned = self._without
        done: set[str] = set()
        trials = _TRIALS
        while len(found.wrong) > 1 and trials > 0:
            stage = next((stage for stage in found.wrong if stage not in done), None)
            if stage is None:
                break
            done.add(stage)
            best, least = None, found.badness
            for other in itertools.islice(self._alternatives(stage, found.matches), trials):
                trials -= 1
                badness = self._rounds(found.matches, {**pinned, **other}).badness
                if badness < least:
                    best, least = other, badness
            if best is not None:
                pinned.update(best)
            # The last trial has overwritten the trace.
            found = self._rounds(found.matches, pinned)
        return found

    def _alternatives(self, stage: str, matches: list[Match]) -> Iterator[dict[str, Match | None]]:
        """Other tensors for a wrong stage, and other stages for its tensor."""
        by_stage = {match.stage: match for match in matches}
        match = by_stage[stage]
        if not _is_wrong(match):
            return
        dropped: dict[str, Match | None] = {}
        reader: str | None = stage
        while reader is not None:
            dropped[reader] = None
            # Folded into what reads it, as a convolution is into a norm.
            reader = next((name for name, read in self.inputs.items() if reader in read), None)
            if reader is None or reader in by_stage:
                break
            yield {**dropped, reader: replace(match, stage=reader)}
        for name in match.ambiguous:
            yield {stage: replace(match, name=name, ambiguous=[])}
        # The candidate leaves it out.
        yield {stage: None}

    def _wrong(self, matches: list[Match], shown: Trace) -> list[str]:
        reference = Trace(self.reference)
        by_stage = {match.stage: match for match in matches if match.name in shown}
        return [
            stage
            for stage in self.inputs
            if stage in by_stage and not _is_right(by_stage[stage], reference, shown[by_stage[stage].name])
        ]


def folded(
    matches: list[Match], inputs: Mapping[str, list[str]], kinds: Mapping[str, str], reference: Trace, free: Trace
) -> set[str]:
    """The stages that a batch norm alone reads, which is right where the stage is wrong or missing in the free run: the norm
    is folded into the stage's tensor.
    """
    by_stage = {match.stage: match for match in matches}

    def error(stage: str) -> float:
        match = by_stage.get(stage)
        if match is None:
            return math.inf
        if match.error is not None:
            return match.error
        golden = reference[stage]
        value = match.to_reference(free[match.name], golden.shape)
        return rms(value - golden) / (rms(golden) or 1.0) if value.shape == golden.shape else math.inf

    found = set()
    for stage in inputs:
        readers = [name for name, read in inputs.items() if stage in read]
        is_normed = len(readers) == 1 and kinds[readers[0]].startswith("BatchNorm")
        if is_normed and not error(stage) <= _WRONG and error(readers[0]) <= _WRONG:
            found.add(stage)
    return found


def _is_wrong(match: Match) -> bool:
    """Whether the tensor has other values than the stage. Where all names are equal, no values were compared."""
    return match.by is not None and (match.error is None or match.error > _WRONG)


def _is_right(match: Match, reference: Trace, tensor: np.ndarray) -> bool:
    golden = reference[match.stage]
    value = match.to_reference(tensor, golden.shape)
    if value.shape != golden.shape:
        return False
    entry = f"floor.forced/{match.stage}"
    floor = float(reference[entry].sum()) if entry in reference else _WRONG / _STRUCTURAL_R * rms(golden)
    return rms(value - golden) < _STRUCTURAL_R * max(floor, LEAST_FLOOR * rms(golden))


def _places(matches: list[Match]) -> dict[str, str]:
    return {match.stage: match.name for match in matches}


def _pinned(matches: list[Match], pinned: Mapping[str, Match | None]) -> list[Match]:
    """`matches` with those of `pinned` in place of what was found for its stages and tensors."""
    fixed = [match for match in pinned.values() if match is not None]
    names = {match.name for match in fixed}
    return [match for match in matches if match.stage not in pinned and match.name not in names] + fixed


class Teacher:
    """Golden values in the layout of a candidate's tensors."""

    def __init__(self, reference: Trace, free: Trace) -> None:
        """`free`: the free run of the candidate."""
        self._reference = reference
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._copies: dict[str, list[str]] = {}
        first: dict[bytes, str] = {}
        for name, array in free.items():
            self._shapes[name] = array.shape
            # A tensor of one value has many equals that are no copies.
            if array.size and array.min() != array.max():
                content = hashlib.blake2b(array.tobytes()).digest()
                self._copies.setdefault(first.setdefault(content, name), []).append(name)
        self._copies = {name: names for names in self._copies.values() for name in names}

    def values(self, matches: list[Match]) -> dict[str, np.ndarray]:
        """The values of all stages that were found, by tensor.

        Later tensors that are equal to a stage's are taught, too: the consumers of a stage may read a copy, such as the
        last state of a recurrent layer in place of its output.
        """
        values: dict[str, np.ndarray] = {}
        found = {match.name for match in matches}
        for match in matches:
            name = match.name
            shape = self._shapes.get(name)
            value = None if shape is None else match.to_candidate(self._reference[match.stage], shape)
            if value is None:
                continue
            values[name] = value
            copies = self._copies.get(name, [name])
            # The stage itself may be computed from an earlier one.
            for copy in copies[copies.index(name) + 1 :]:
                if copy not in found:
                    values[copy] = value.reshape(self._shapes[copy])
        return values

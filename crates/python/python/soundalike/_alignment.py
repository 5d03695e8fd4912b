"""The stages of a reference in a candidate, and golden values in the candidate's layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from . import _native


# A tensor is several stages if its errors at them differ by less than this factor, above the rounding of f32.
_ALIKE, _EPS = 10.0, 2.0**-24


@dataclass(frozen=True)
class Match:
    """A stage of the reference and a tensor of the candidate."""

    stage: str
    name: str
    by: str | None
    """``name``, ``value`` or ``order``; None for an equal name that nothing was compared for."""
    axes: list[int] | None
    """Axis `i` of the stage is axis ``axes[i]`` of the tensor, without axes of length 1; None: the values are in one order."""
    error: float | None
    """Root mean square of the difference, in units of the stage's."""
    ambiguous: list[str]
    """Other tensors that fit as well."""

    def entry(self) -> dict[str, object]:
        """The match as the native part reads it."""
        return {
            "stage": self.stage,
            "name": self.name,
            "by": self.by or "name",
            "axes": self.axes,
            "error": 0.0 if self.error is None else self.error,
            "ambiguous": self.ambiguous,
        }

    def to_candidate(self, golden: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
        """A value of the stage in the layout of the tensor, whose shape is `shape`; None where the sizes differ."""
        if golden.size != int(np.prod(shape)):
            return None
        if self.axes is None:
            return golden.reshape(shape)
        return golden.squeeze().transpose(np.argsort(self.axes)).reshape(shape)

    def to_reference(self, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """A value of the tensor in the layout of the stage, whose shape is `shape`; as it is where the sizes differ."""
        if value.size != int(np.prod(shape)):
            return value
        if self.axes is None:
            return value.reshape(shape)
        return value.squeeze().transpose(self.axes).reshape(shape)


def align(
    reference: str,
    candidate: str,
    names: str | None,
    *,
    forced: bool = False,
    aliases: Mapping[str, str] | None = None,
    u2_as_bf16: bool = False,
) -> list[Match]:
    """The stages of the trace `reference` among the arrays of the trace `candidate`. `names`: a map of names, TOML.
    `forced`: the candidate was fed by the reference. `aliases`: what else arrays of the candidate are called. `u2_as_bf16`: its integers of 16
    bits are bf16."""
    parsed = json.loads(_native.align(reference, candidate, names, forced, dict(aliases or {}), u2_as_bf16))
    found = [Match(**{**match, "ambiguous": match["ambiguous"] or []}) for match in parsed]
    # A norm at its defaults changes its input little: a convolution that it is folded into resembles both.
    least: dict[str, float] = {}
    for match in found:
        if match.error is not None:
            least[match.name] = min(match.error, least.get(match.name, match.error))
    return [match for match in found if match.error is None or match.error <= _ALIKE * max(least[match.name], _EPS)]


def names_toml(matches: list[Match]) -> str:
    """A map of names with what was found."""
    return _native.names_of(json.dumps([match.entry() for match in matches]))

"""Shapes that differ, in words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def shape_words(expected: Sequence[int], found: Sequence[int], axes: Sequence[str] | None = None) -> str:
    """``[1, 55, 7], expected [1, 56, 7]: one frame short``.

    Args:
        expected: The reference's shape.
        found: The candidate's.
        axes: Names of the reference's axes, such as ``batch``, ``frame`` and ``channel``.
    """
    expected, found = list(expected), list(found)
    words = _difference(expected, found, list(axes or ["_"] * len(expected)))
    return f"{found}, expected {expected}" + (f": {words}" if words else "")


def _difference(expected: list[int], found: list[int], axes: list[str]) -> str | None:
    if len(expected) == len(found):
        if sorted(expected) == sorted(found):
            return _order(expected, found)
        differing = [axis for axis, (a, b) in enumerate(zip(expected, found)) if a != b]
        return _length(axes, differing[0], expected, found) if len(differing) == 1 else None
    if len(expected) == len(found) + 1:
        for axis, length in enumerate(expected):
            if expected[:axis] + expected[axis + 1 :] == found:
                name = (
                    _name(axes, axis)
                    if axes[axis] != "_"
                    else "batch axis"
                    if axis == 0 and length == 1
                    else f"axis {axis}"
                )
                return f"{name} missing" if length == 1 else f"{name}, of length {length}, missing"
    if len(found) == len(expected) + 1:
        for axis in range(len(found)):
            if found[:axis] + found[axis + 1 :] == expected:
                return f"one more axis, at {axis}"
    if _product(expected) == _product(found):
        return "as many elements in other axes"
    return None


def _name(axes: list[str], axis: int) -> str:
    return f"axis {axis}" if axes[axis] == "_" else f"{axes[axis]} axis"


def _order(expected: list[int], found: list[int]) -> str | None:
    for first, second in itertools.combinations(range(len(expected)), 2):
        swapped = list(expected)
        swapped[first], swapped[second] = swapped[second], swapped[first]
        if swapped == found:
            return f"axes {first} and {second} swapped"
    return "axes in another order" if expected != found else None


def _length(axes: list[str], axis: int, expected: list[int], found: list[int]) -> str:
    difference = found[axis] - expected[axis]
    count = "one" if abs(difference) == 1 else str(abs(difference))
    comparison = "short" if difference < 0 else "too many"
    if axes[axis] == "_":
        return f"axis {axis} is {count} {'short' if difference < 0 else 'too long'}"
    return f"{count} {axes[axis]}{'' if count == 'one' else 's'} {comparison}"


def _product(shape: list[int]) -> int:
    product = 1
    for length in shape:
        product *= length
    return product

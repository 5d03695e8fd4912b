"""The inputs of a network: examples, each with positional arguments and arguments by keyword."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ._errors import InputError


@dataclass(frozen=True)
class Example:
    """One call of a network."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def names(self) -> list[str]:
        """The names of the arguments: ``input``, ``input:1`` by position, ``input:NAME`` by keyword."""
        positional = ("input" if place == 0 else f"input:{place}" for place in range(len(self.args)))
        return [*positional, *(f"input:{name}" for name in self.kwargs)]

    def tensors(self) -> Iterator[tuple[str, np.ndarray]]:
        """The arguments as arrays, by name."""
        for name, value in zip(self.names(), [*self.args, *self.kwargs.values()], strict=True):
            yield name, as_array(value)

    def fits(self, trace: Mapping[str, np.ndarray]) -> bool:
        """Whether these are the inputs that a trace holds, as far as it does. Floats are compared as f32."""
        held = ((trace.get(f"input/{name}"), array) for name, array in self.tensors())
        return all(a is None or np.array_equal(a.astype(np.float32), b.astype(np.float32)) for a, b in held)


def examples(inputs: Any) -> list[Example]:
    """The examples of ``inputs``: a tensor is one argument, a tuple positional arguments, a dict arguments by keyword, and a
    list several examples.

    Raises:
        InputError: for an empty list.
    """
    if isinstance(inputs, list):
        if not inputs:
            raise InputError("inputs: an empty list; give at least one example")
        return [_example(one) for one in inputs]
    return [_example(inputs)]


def _example(one: Any) -> Example:
    if isinstance(one, Example):
        return one
    if isinstance(one, tuple):
        return Example(args=one)
    if isinstance(one, Mapping):
        return Example(kwargs=dict(one))
    return Example(args=(one,))


def as_array(value: Any) -> np.ndarray:
    """A tensor of PyTorch, or anything that numpy can read, as an array.

    Raises:
        InputError: for Python objects.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        value = value.numpy()
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise InputError(f"inputs: {type(value).__name__} is no array of numbers")
    return array

"""A candidate that is a Python function: JAX, MLX, or anything whose arrays numpy reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ._errors import CandidateError, InputError
from ._inputs import Example, as_array


class FunctionCandidate:
    """A function of the example's arrays that returns its tensors by name, in order of execution.

    An object that also has a method ``stage(name, *inputs)`` can be forced. The method computes one stage of the
    reference from the inputs of that stage, and returns None for a stage that the object does not have.
    """

    def __init__(self, function: Callable[..., Any], name: str | None = None) -> None:
        self._function = function
        self.name = name or str(getattr(function, "__name__", type(function).__name__))

    def describe(self) -> dict[str, Any]:
        """The engine: a Python function tells nothing about it."""
        return {"engine": "python", "versions": {"numpy": np.__version__}, "device": "unknown"}

    def free(self, example: Example) -> Iterator[tuple[str, np.ndarray]]:
        """The tensors that the function returns: a mapping, or pairs of name and array.

        Raises:
            CandidateError: if the function fails, or returns something else.
        """
        args = [as_array(value) for value in example.args]
        kwargs = {name: as_array(value) for name, value in example.kwargs.items()}
        try:
            returned = self._function(*args, **kwargs)
        except Exception as error:
            raise self._failed("", error) from error
        seen = set()
        for name, value in self._pairs(returned):
            if name in seen:
                raise CandidateError(f"{self.name}: returns `{name}` twice")
            seen.add(name)
            yield name, self._array(name, value)
        if not seen:
            raise CandidateError(f"{self.name}: returns no tensors")

    def forced(self, example: Example, taught: Mapping[str, np.ndarray]) -> None:
        """None: a function cannot be fed inside. See `forced_stages`."""
        return None

    def forced_stages(
        self, stages: Iterable[tuple[str, Sequence[np.ndarray]]]
    ) -> Iterator[tuple[str, np.ndarray]] | None:
        """The outputs of stages, each computed from the given inputs; None where the function has no method `stage`.

        Raises:
            CandidateError: if `stage` fails, or returns no array.
        """
        stage = getattr(self._function, "stage", None)
        return None if stage is None else self._stages(stage, stages)

    def _stages(
        self, stage: Callable[..., Any], stages: Iterable[tuple[str, Sequence[np.ndarray]]]
    ) -> Iterator[tuple[str, np.ndarray]]:
        for name, inputs in stages:
            try:
                value = stage(name, *inputs)
            except Exception as error:
                raise self._failed(f"stage `{name}` ", error) from error
            if value is not None:
                yield name, self._array(name, value)

    def _pairs(self, returned: Any) -> Iterator[tuple[str, Any]]:
        wrong = CandidateError(
            f"{self.name}: returns {type(returned).__name__}, expected a mapping from names to arrays, "
            "or a list of pairs (name, array)"
        )
        if isinstance(returned, Mapping):
            returned = returned.items()
        # An array can be iterated over, too.
        elif not isinstance(returned, (list, tuple, Iterator)):
            raise wrong
        for entry in returned:
            if not isinstance(entry, tuple) or len(entry) != 2 or not isinstance(entry[0], str):
                raise wrong
            yield entry

    def _array(self, name: str, value: Any) -> np.ndarray:
        try:
            array = as_array(value)
            if array.dtype.name == "bfloat16":  # of JAX; numpy has no such type of its own
                array = array.astype(np.float32)
        except (InputError, ValueError, TypeError, RuntimeError) as error:
            raise CandidateError(f"{self.name}: `{name}` is no array of numbers: {error}") from error
        if array.dtype.kind not in "fiub":
            raise CandidateError(f"{self.name}: `{name}` has elements of type {array.dtype}, expected real numbers")
        if not array.size:
            raise CandidateError(f"{self.name}: `{name}` is empty: shape {list(array.shape)}")
        return array

    def _failed(self, where: str, error: Exception) -> CandidateError:
        return CandidateError(f"{self.name}: {where}fails: {type(error).__name__}: {error}")

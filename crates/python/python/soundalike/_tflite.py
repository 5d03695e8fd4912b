"""A candidate that LiteRT (TensorFlow Lite) runs."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ._errors import CandidateError
from ._inputs import Example, as_array

try:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType
except ImportError as missing:
    raise CandidateError(
        "TensorFlow Lite files need the package ai-edge-litert: pip install 'soundalike[tflite]'"
    ) from missing

# Operators whose bodies are graphs of their own.
_WITH_BODIES = {"CALL", "CALL_ONCE", "IF", "WHILE"}


class TfliteCandidate:
    """A TensorFlow Lite file, run by LiteRT on one CPU thread, without delegates, which may fuse operators and
    then have no tensors between them."""

    def __init__(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        """
        Raises:
            CandidateError: if the file is no TensorFlow Lite model.
        """
        self.name = name or Path(path).name
        self._origin = str(path)
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise CandidateError(f"{path}: cannot be read: {error.strerror}") from error
        try:
            self._interpreter = Interpreter(
                model_content=content,
                num_threads=1,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                experimental_preserve_all_tensors=True,
            )
        except (ValueError, RuntimeError) as error:
            raise CandidateError(f"{path}: LiteRT does not load it: {' '.join(str(error).split())}") from error
        self._inputs = self._interpreter.get_input_details()
        self._operators = self._interpreter._get_ops_details()

    def describe(self) -> dict[str, Any]:
        """The engine and its version."""
        version = importlib.metadata.version("ai-edge-litert")
        return {"engine": "litert", "versions": {"ai-edge-litert": version}, "device": "cpu"}

    @property
    def notes(self) -> list[str]:
        """How this run differs from a user's, and what is not shown."""
        bodies = [operator["op_name"] for operator in self._operators if operator["op_name"] in _WITH_BODIES]
        return [
            "run by LiteRT's own kernels, without its default delegate (XNNPACK), which may fuse operators",
            *(f"the body of a {name} is not shown" for name in bodies),
        ]

    def free(self, example: Example) -> Iterator[tuple[str, np.ndarray]]:
        """Every float tensor that an operator computes, under its own name, in order of execution. Quantised tensors
        are shown as the numbers that they stand for, f32.

        Raises:
            CandidateError: if the example does not fit the model, or an operator fails.
        """
        self._invoke(example)
        names: dict[str, int] = {}
        for operator in self._operators:
            for index in operator["outputs"]:
                if index < 0:  # an output that nothing reads
                    continue
                details = self._interpreter._get_tensor_details(index, 0)
                value = _dequantised(self._interpreter.get_tensor(index), details)
                if value.dtype.kind != "f":
                    continue
                # Names may be empty, and may repeat.
                name = details["name"] or f"tensor:{index}"
                count = names[name] = names.get(name, -1) + 1
                yield f"{name}#{count}" if count else name, value

    def forced(self, example: Example, taught: Mapping[str, np.ndarray]) -> None:
        """None: LiteRT cannot be fed between its operators."""
        return None

    def _invoke(self, example: Example) -> None:
        values = self._bind(example)
        try:
            for details, value in zip(self._inputs, values, strict=True):
                self._interpreter.resize_tensor_input(details["index"], value.shape)
            self._interpreter.allocate_tensors()
            self._interpreter.reset_all_variables()
            for details, value in zip(self._inputs, values, strict=True):
                self._interpreter.set_tensor(details["index"], value)
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise CandidateError(f"{self._origin}: LiteRT fails: {' '.join(str(error).split())}") from error

    def _bind(self, example: Example) -> list[np.ndarray]:
        """The value of each input: by the name of its tensor or in the signature, the others by position."""

        def wrong(what: str) -> CandidateError:
            described = ", ".join(
                f"`{names[details['index']]}` {np.dtype(details['dtype'])} {_sizes(details)}"
                for details in self._inputs
            )
            return CandidateError(f"{self._origin}: {what}; it has the inputs {described or '(none)'}")

        names = self._input_names()
        given = dict(example.kwargs)
        by_position = iter(example.args)
        values: list[np.ndarray] = []
        for details in self._inputs:
            keys = [name for name in (details["name"], names[details["index"]]) if name in given]
            try:
                value = given.pop(keys[0]) if keys else next(by_position)
            except StopIteration:
                raise wrong(f"no value for the input `{names[details['index']]}`") from None
            array = _quantised(as_array(value), details)
            if array is None:
                raise wrong(f"the input `{names[details['index']]}` is {as_array(value).dtype}")
            if not _fits(array.shape, details):
                raise wrong(f"the input `{names[details['index']]}` has shape {list(array.shape)}")
            values.append(array)
        if given:
            raise wrong(f"has no input {', '.join(f'`{name}`' for name in given)}")
        surplus = len(list(by_position))
        if surplus:
            raise wrong(f"{len(example.args)} inputs by position, expected {len(example.args) - surplus}")
        return values

    def _input_names(self) -> dict[int, str]:
        """The name of each input by the index of its tensor: that of the signature, else that of the tensor."""
        names = {int(details["index"]): details["name"] for details in self._inputs}
        for signature in self._interpreter._get_full_signature_list().values():
            names |= {int(index): name for name, index in signature["inputs"].items() if int(index) in names}
        return names


def _sizes(details: Mapping[str, Any]) -> str:
    return f"[{', '.join('?' if size < 0 else str(size) for size in details['shape_signature'])}]"


def _fits(shape: tuple[int, ...], details: Mapping[str, Any]) -> bool:
    sizes = details["shape_signature"]
    return len(sizes) == len(shape) and all(size in (-1, given) for size, given in zip(sizes, shape))


def _scale(details: Mapping[str, Any], rank: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Scale and zero point of a quantised tensor, so that they broadcast over it; None for any other tensor."""
    parameters = details["quantization_parameters"]
    scales, zeros = parameters["scales"], parameters["zero_points"]
    if not scales.size or np.dtype(details["dtype"]).kind == "f":
        return None
    shape = [1] * rank
    if scales.size > 1:
        shape[parameters["quantized_dimension"]] = scales.size
    zeros = np.broadcast_to(zeros, scales.shape)
    return scales.astype(np.float64).reshape(shape), zeros.astype(np.float64).reshape(shape)


def _dequantised(value: np.ndarray, details: Mapping[str, Any]) -> np.ndarray:
    quantisation = _scale(details, value.ndim)
    if quantisation is None:
        return value
    scale, zero = quantisation
    numbers: np.ndarray = (value - zero) * scale
    return numbers.astype(np.float32)


def _quantised(value: np.ndarray, details: Mapping[str, Any]) -> np.ndarray | None:
    """An input in the model's type: floats rounded to it or quantised; None where that would be another value."""
    wanted = np.dtype(details["dtype"])
    quantisation = _scale(details, value.ndim)
    if value.dtype.kind == "f" and wanted.kind == "f":
        return value.astype(wanted)
    if value.dtype.kind == "f" and quantisation is not None:
        scale, zero = quantisation
        limits = np.iinfo(wanted)
        steps: np.ndarray = np.clip(np.rint(value / scale + zero), limits.min, limits.max)
        return steps.astype(wanted)
    cast = value.astype(wanted) if value.dtype.kind in "iub" and wanted.kind in "iub" else None
    return cast if cast is not None and np.array_equal(cast, value) else None

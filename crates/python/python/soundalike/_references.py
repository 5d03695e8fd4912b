"""What can be a reference."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._errors import InputError, ReferenceError
from ._inputs import Example, examples
from ._scratch import Scratch
from ._trace_file import Trace, TraceWriter, is_trace

if TYPE_CHECKING:
    from ._causes import Cause
    from ._replay import Replay


class Reference:
    """Traces of a reference, one for each example, which cannot be run again."""

    can_run = False

    def __init__(self, name: str, traces: list[tuple[Path, Example]]) -> None:
        self.name = name
        self.traces = traces

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What was captured, and how; without stages where other tools have written the trace."""
        trace = Trace(self.traces[0][0])
        parsed: dict[str, Any] = {"stages": []}
        return json.loads(trace["manifest"].tobytes()) if "manifest" in trace else parsed

    @cached_property
    def has_floors(self) -> bool:
        """Whether its own rounding is known. Without it, there is no R, and nothing is fed."""
        names = Trace(self.traces[0][0])
        return bool(self.manifest["stages"]) and any(name.startswith("floor.") for name in names)

    @property
    def model(self) -> str:
        """The name of the network."""
        return str((self.manifest.get("model") or {}).get("name") or self.traces[0][0].stem)

    @cached_property
    def inputs(self) -> dict[str, list[str]]:
        """What each stage reads: stages and network inputs."""
        return {stage["name"]: stage.get("inputs") or [] for stage in self.manifest["stages"]}

    @property
    def with_parameters(self) -> set[str]:
        """The stages that modules with parameters of their own compute; empty where that is not known."""
        return set()

    @property
    def notes(self) -> list[str]:
        """What is not seen of the network."""
        return list(self.manifest.get("notes", []))

    def floors(
        self, number: int, seen: Collection[str], scratch: Scratch, *, forced: bool, dtype: str | None
    ) -> Path | None:
        """Writes floors that depend on the candidate. None where there are none, or where the reference cannot be run
        again.

        `seen`: the stages that the candidate shows. `forced`: whether it was fed at them, and only at them.
        `dtype`: of its tensors, where that is below f32.
        """
        return None

    def explain(
        self, number: int, stage: str, candidate: np.ndarray, floor: float, hidden: Collection[str]
    ) -> Cause | None:
        """The cause of the error of a stage; None where it is not known.

        `hidden`: the stages that the candidate does not show: they may be folded into this one.
        """
        return None

    @property
    def kinds(self) -> dict[str, str]:
        """What each stage is: the class of a module, the name of a function, or the operator of a node."""
        return {stage["name"]: stage.get("op") or "" for stage in self.manifest["stages"]}

    def stage_inputs(self, number: int) -> Iterator[tuple[str, list[np.ndarray]]]:
        """The stages with their golden inputs in f32; without those that read something else than stages and inputs."""
        trace = Trace(self.traces[number][0])
        for stage in self.manifest["stages"]:
            entries = [name if name in trace else f"input/{name}" for name in stage["inputs"] or []]
            if entries and all(entry in trace for entry in entries):
                arrays = [trace[entry] for entry in entries]
                yield stage["name"], [x.astype(np.float32) if x.dtype == np.float64 else x for x in arrays]


class ModuleReference(Reference):
    """A ``torch.nn.Module``, which can be run again."""

    can_run = True

    def __init__(self, module: Any, traces: list[tuple[Path, Example]]) -> None:
        super().__init__("torch", traces)
        self._module = module

    @property
    def with_parameters(self) -> set[str]:
        own = {path for path, part in self._module.named_modules() if any(True for _ in part.parameters())}
        # `lstm:1` and `conv#1` are outputs of `lstm` and `conv`.
        return {stage for stage in self.inputs if re.split("[:#]", stage)[0] in own}

    def floors(
        self, number: int, seen: Collection[str], scratch: Scratch, *, forced: bool, dtype: str | None
    ) -> Path | None:
        import torch

        from ._capture import forced_floors, low_floors

        trace, example = self.traces[number]
        found: dict[str, np.ndarray] = {}
        if forced and not {stage["name"] for stage in self.manifest["stages"]} <= set(seen):
            for stage, parts in forced_floors(self._module, example, trace, seen).items():
                found |= {f"floor.forced{part}/{stage}": floor for part, floor in parts.items()}
        if dtype is not None:
            for running, taught in (("free", ()), ("forced", seen)) if forced else (("free", ()),):
                low = low_floors(self._module, example, trace, taught, getattr(torch, dtype))
                found |= {f"floor.low.{running}/{stage}": np.array([floor]) for stage, floor in low.items()}
        if not found:
            return None
        path = scratch / f"floors-{number}.npz"
        with TraceWriter(path) as writer:
            for name, floor in found.items():
                writer.add(name, floor)
        return path

    def explain(
        self, number: int, stage: str, candidate: np.ndarray, floor: float, hidden: Collection[str]
    ) -> Cause | None:
        from ._replay import replays

        path, example = self.traces[number]
        return _explained(replays(self._module, example, stage, hidden), candidate, Trace(path)[stage], floor)


class OnnxReference(Reference):
    """An ONNX file, whose nodes can be computed again."""

    can_run = True

    def __init__(self, file: str | os.PathLike[str], traces: list[tuple[Path, Example]]) -> None:
        super().__init__(Path(file).name, traces)
        self._file = file

    def explain(
        self, number: int, stage: str, candidate: np.ndarray, floor: float, hidden: Collection[str]
    ) -> Cause | None:
        try:
            from ._onnx_replay import replays
        except ImportError:  # hypotheses are computed by PyTorch
            return None
        path, example = self.traces[number]
        found = replays(self._file, example, stage, hidden, self.inputs)
        return _explained(found, candidate, Trace(path)[stage], floor)


# Long enough for every step that a candidate folds into one; a candidate that shows few stages has many more.
_SECONDS = 30.0


def _explained(found: list[list[Replay]], candidate: np.ndarray, golden: np.ndarray, floor: float) -> Cause | None:
    """The cause of an error, in the stage or in one that is folded into it. `found`: the ways to the stage."""
    from ._causes import Folded, explain
    from ._replay import along

    described: Cause | None = None
    end = time.monotonic() + _SECONDS
    for way in found:
        if time.monotonic() > end:
            break
        if len(way) == 1:
            described = explain(way[0], candidate, golden, floor)
            if described is not None and not described.is_description:
                return described
        else:
            cause = explain(way[0], candidate, golden, floor, folded=Folded(way[0].value, along(way)))
            if cause is not None:
                return replace(cause, text=f"{cause.text}, in `{way[0].name}`")
    return described


def reference_of(given: Any, inputs: Any, name: str | None, scratch: Scratch, say: Callable[[str], None]) -> Reference:
    """The reference that `given` is: a module, an ONNX file, or a trace. Captured where it has to be, into `scratch`.

    Raises:
        InputError: where inputs are missing.
        ReferenceError: for anything else.
    """
    if isinstance(given, (str, os.PathLike)) and is_trace(given):
        return _trace(Path(given), inputs)
    if isinstance(given, type):
        raise ReferenceError(f"reference: is the class {given.__name__}; give an instance")
    is_module = hasattr(given, "named_modules")
    if not is_module and not (isinstance(given, (str, os.PathLike)) and Path(given).suffix == ".onnx"):
        raise ReferenceError(
            f"reference: is {given if isinstance(given, (str, os.PathLike)) else type(given).__name__}; give a "
            "torch.nn.Module, an .onnx file, or a trace (.npz, .safetensors, a folder of .npy)"
        )
    if inputs is None:
        raise InputError("inputs: are missing; give what the network is called with")
    traces = []
    for number, example in enumerate(examples(inputs)):
        path = scratch / f"example {number + 1}.npz"
        say(f"reference: capturing example {number + 1}")
        if is_module:
            from ._capture import capture

            capture(given, example, path, name=name, progress=False)
        else:
            from ._onnx_reference import capture_onnx

            capture_onnx(given, example, path, name=name)
        traces.append((path, example))
    return ModuleReference(given, traces) if is_module else OnnxReference(given, traces)


def _trace(path: Path, inputs: Any) -> Reference:
    trace = Trace(path)
    if inputs is not None:
        given = examples(inputs)
        if len(given) != 1:
            raise InputError(f"{path}: is the trace of one example, found {len(given)} in the inputs; give one")
        if not given[0].fits(trace):
            raise InputError(f"{path}: is a trace of other inputs; omit them, or capture these")
        return Reference(f"trace:{path.name}", [(path, given[0])])
    args: dict[int, np.ndarray] = {}
    kwargs: dict[str, np.ndarray] = {}
    for entry in trace:
        if not entry.startswith("input/"):
            continue
        _, _, which = entry.removeprefix("input/").partition(":")
        if which.isdigit() or not which:
            args[int(which or 0)] = trace[entry]
        else:
            kwargs[which] = trace[entry]
    example = Example(tuple(value for _, value in sorted(args.items())), kwargs)
    return Reference(f"trace:{path.name}", [(path, example)])

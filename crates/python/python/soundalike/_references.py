"""What can be a reference."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ._errors import InputError, ReferenceError
from ._inputs import Example, examples
from ._trace_file import Trace, TraceWriter

if TYPE_CHECKING:
    from ._causes import Cause


class Reference:
    """Traces of a reference, one for each example, which cannot be run again."""

    def __init__(self, name: str, traces: list[tuple[Path, Example]]) -> None:
        self.name = name
        self.traces = traces

    @property
    def manifest(self) -> dict[str, Any]:
        """What was captured, and how."""
        parsed: dict[str, Any] = json.loads(Trace(self.traces[0][0])["manifest"].tobytes())
        return parsed

    @property
    def model(self) -> str:
        """The name of the network."""
        return str((self.manifest.get("model") or {}).get("name") or self.name)

    @property
    def notes(self) -> list[str]:
        """What is not seen of the network."""
        return list(self.manifest.get("notes", []))

    def forced_floors(self, number: int, seen: Collection[str], path: Path) -> Path | None:
        """Writes the floors of a run that is fed at the stages in `seen` only; None where it cannot be run again, or where
        all stages were seen.
        """
        return None

    def explain(
        self, number: int, stage: str, candidate: np.ndarray, golden: np.ndarray, floor: float
    ) -> Cause | None:
        """The cause of the error of a stage; None where it is not known."""
        return None

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

    def __init__(self, module: Any, traces: list[tuple[Path, Example]]) -> None:
        super().__init__("torch", traces)
        self._module = module

    def forced_floors(self, number: int, seen: Collection[str], path: Path) -> Path | None:
        from ._capture import forced_floors

        stages = {stage["name"] for stage in self.manifest["stages"]}
        if stages <= set(seen):
            return None
        trace, example = self.traces[number]
        found = forced_floors(self._module, example, trace, seen)
        with TraceWriter(path) as writer:
            for stage, parts in found.items():
                for part, floor in parts.items():
                    writer.add(f"floor.forced{part}/{stage}", floor)
        return path

    def explain(
        self, number: int, stage: str, candidate: np.ndarray, golden: np.ndarray, floor: float
    ) -> Cause | None:
        from ._causes import explain
        from ._replay import at_stage

        trace, example = self.traces[number]
        return at_stage(self._module, example, stage, lambda step: explain(step, candidate, golden, floor))


def reference_of(given: Any, inputs: Any, name: str | None, folder: Path, say: Callable[[str], None]) -> Reference:
    """The reference that `given` is: a module, an ONNX file, or a trace. Captured where it has to be, into `folder`.

    Raises:
        InputError: where inputs are missing.
        ReferenceError: for anything else.
    """
    if isinstance(given, (str, os.PathLike)) and Path(given).suffix == ".npz":
        return _trace(Path(given), inputs)
    is_module = hasattr(given, "named_modules")
    if not is_module and not (isinstance(given, (str, os.PathLike)) and Path(given).suffix == ".onnx"):
        raise ReferenceError(
            f"reference: is {given if isinstance(given, (str, os.PathLike)) else type(given).__name__}; give a "
            "torch.nn.Module, an .onnx file, or a trace (.npz) that `capture` wrote"
        )
    if inputs is None:
        raise InputError("inputs: are missing; give what the network is called with")
    traces = []
    for number, example in enumerate(examples(inputs)):
        path = folder / f"example {number + 1}.npz"
        say(f"reference: capturing example {number + 1}")
        if is_module:
            from ._capture import capture

            capture(given, example, path, name=name, progress=False)
        else:
            from ._onnx_reference import capture_onnx

            capture_onnx(given, example, path, name=name)
        traces.append((path, example))
    return ModuleReference(given, traces) if is_module else Reference(str(given), traces)


def _trace(path: Path, inputs: Any) -> Reference:
    trace = Trace(path)
    if inputs is not None:
        given = examples(inputs)
        if len(given) != 1:
            raise InputError(f"{path}: is the trace of one example, found {len(given)} in the inputs; give one")
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

"""Captures a reference: the golden outputs of a network in f64, and how far PyTorch's own f32 is from them."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ._errors import InputError, ModuleError, ReferenceError

try:
    import torch
except ImportError as missing:
    raise ReferenceError("a torch.nn.Module needs PyTorch: pip install 'soundalike[torch]'") from missing
from torch import Tensor, nn

from ._axes import Axes
from ._floors import LEAST_FLOOR, floors
from ._inputs import Example, as_array, examples
from ._norms import is_degenerate, is_norm, reference_norm
from ._progress import reporter
from ._redraw import REDRAWS, larger, moved
from ._runner import Runner, Step
from ._trace_file import Trace, TraceWriter

# Two runs of one network in f64 may round differently, by where a matrix lies in memory. That stays far below.
_SAME = 1e-10

Floors = dict[str, np.ndarray]
"""Errors of the f32 network at a stage: ``""``, ``".channel"`` and, where there are frames, ``".frame"``."""


def capture(
    module: nn.Module, inputs: Any, path: str | os.PathLike[str], *, name: str | None = None, progress: bool = True
) -> Path:
    """Writes a reference trace of a network: each stage in f64, and the errors of the same network in f32, free-running
    and teacher-forced. The network itself is not changed.

    `inputs`: see `examples`. For a list, `path` is a folder, and the traces are ``0.npz``, ``1.npz``, ...
    `progress`: reports each run to stderr. Returns `path`.

    Raises:
        InputError: for inputs that are no tensors.
        ReferenceError: if the network fails in f64 or in f32, gives values that are not finite, draws random numbers,
            or has no stages.
    """
    path = Path(path)
    given = examples(inputs)
    label = name or type(module).__name__
    with reporter(progress) as say:
        if not isinstance(inputs, list):
            _capture_one(module, given[0], path, label, say)
            return path
        path.mkdir(parents=True, exist_ok=True)
        for number, example in enumerate(given):
            _capture_one(module, example, path / f"{number}.npz", label, say)
    return path


def forced_floors(
    module: nn.Module, inputs: Any, path: str | os.PathLike[str], taught: Collection[str]
) -> dict[str, Floors]:
    """The errors of the f32 network, by stage, where it is fed the golden outputs of the stages in `taught` only: the
    floors of a candidate that does not show the others. `path`: the trace that `capture` wrote of the same module and
    inputs.

    Raises:
        InputError: for several examples.
        ReferenceError: if the trace is not of this module.
    """
    given = examples(inputs)
    if len(given) != 1:
        raise InputError(f"{path}: is the trace of one example, found {len(given)} in the inputs; give one")
    trace = Trace(path)
    manifest = json.loads(trace["manifest"].tobytes())
    stages = {entry["name"]: Stage.parse(entry) for entry in manifest["stages"]}
    return _replay(module, given[0], stages, trace, taught, str(path)).floors


def low_floors(
    module: nn.Module, inputs: Any, path: str | os.PathLike[str], taught: Collection[str], dtype: torch.dtype
) -> dict[str, float]:
    """The errors, root mean squares by stage, of the network in f32 with weights, inputs and the output of each stage
    rounded to `dtype`: what 16 bits cost. It is fed the golden outputs of the stages in `taught`, or else feeds itself.
    `path`: the trace that `capture` wrote of the same module and inputs. Stages that overflow are left out.

    Raises:
        InputError: for several examples.
        ReferenceError: if the trace is not of this module.
    """
    trace = Trace(path)
    found: dict[str, float] = {}

    def rounded(value: Any) -> Any:
        return value.to(dtype).float() if isinstance(value, Tensor) and value.is_floating_point() else value

    def see(step: Step) -> Tensor:
        value, expected = rounded(step.value), _stage_value(trace, step, str(path), "f32")
        error = float(np.sqrt(np.mean(np.square(value.double().numpy() - expected))))
        if np.isfinite(error):
            found[step.name] = error
        read: Tensor = rounded(torch.from_numpy(expected.astype(np.float32))) if step.name in taught else value
        return read

    own = copy.deepcopy(module).cpu().float()
    with torch.no_grad():
        for constant in [*own.parameters(), *own.buffers()]:
            constant.copy_(rounded(constant))
    (example,) = examples(inputs)
    _run(own, torch.float32, _changed(example, lambda _, value: rounded(value)), see, str(path))
    return found


@dataclass(frozen=True)
class Stage:
    """A stage in the manifest."""

    name: str
    axes: Axes
    inputs: list[str]
    kind: str
    degenerate: bool

    def entry(self) -> dict[str, Any]:
        """The stage as JSON."""
        return {
            "name": self.name,
            "shape": list(self.axes.shape),
            "axes": self.axes.names,
            "channel_axis": self.axes.channel,
            "frame_axis": self.axes.frame,
            "inputs": self.inputs,
            "parts": [],
            "degenerate": self.degenerate,
            "op": self.kind,
        }

    @staticmethod
    def parse(entry: Mapping[str, Any]) -> Stage:
        axes = Axes(tuple(entry["shape"]), entry["axes"], entry["channel_axis"], entry["frame_axis"])
        return Stage(entry["name"], axes, entry["inputs"], entry["op"], entry["degenerate"])


class _Golden(Mapping[str, np.ndarray]):
    """The golden outputs of a network, f64, on disk."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._files: dict[str, Path] = {}

    def add(self, name: str, array: np.ndarray) -> None:
        self._files[name] = self._folder / f"{len(self._files)}.npy"
        np.save(self._files[name], np.asarray(array, order="C"))

    def __getitem__(self, name: str) -> np.ndarray:
        array: np.ndarray = np.load(self._files[name], mmap_mode="r")
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


@dataclass
class _Replay:
    """What the f32 network gave."""

    floors: dict[str, Floors]
    last: np.ndarray
    """The value of the last stage."""


def _capture_one(module: nn.Module, example: Example, path: Path, label: str, say: Callable[[str], None]) -> None:
    named = list(example.tensors())
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        golden = _Golden(folder)
        say(f"{label}: golden outputs in f64")
        stages = _run_golden(module, example, golden, label)
        say(f"{label}: {len(stages)} stages; errors of f32, free-running")
        free = _replay(module, example, stages, golden, (), label)
        say(f"{label}: errors of f32, teacher-forced")
        forced = _replay(module, example, stages, golden, golden.keys(), label)
        with TraceWriter(path) as trace:
            manifest = _manifest(module, label, stages, _notes(module, named))
            trace.add("manifest", np.frombuffer(json.dumps(manifest).encode(), np.uint8))
            for name, value in named:
                trace.add(f"input/{name}", value)
            for name in stages:
                trace.add(name, golden[name])
                for running, found in (("free", free), ("forced", forced)):
                    for part, floor in found.floors[name].items():
                        trace.add(f"floor.{running}{part}/{name}", floor)
            trace.add(f"f32/{name}", free.last)


def _run_golden(module: nn.Module, example: Example, golden: _Golden, label: str) -> dict[str, Stage]:
    """Runs the network in f64: fills `golden`, and returns the stages in order of execution."""
    stages: dict[str, Stage] = {}

    def keep(step: Step) -> None:
        value = step.value.double().numpy()
        if not np.isfinite(value).all():
            raise ReferenceError(
                f"{label}: stage `{step.name}` has values that are not finite in f64; give other inputs"
            )
        read = [stages[name] for name in step.inputs if name in stages]
        degenerate = is_degenerate(step) if is_norm(step) else any(stage.degenerate for stage in read)
        axes = Axes.of(step, (stage.axes for stage in read))
        stages[step.name] = Stage(step.name, axes, step.inputs, step.kind, degenerate)
        golden.add(step.name, value)

    def check(step: Step) -> None:
        expected = _stage_value(golden, step, label, "a second run in f64")
        error = np.abs(step.value.double().numpy() - expected).max(initial=0.0)
        if not error <= _SAME * max(1.0, np.abs(expected).max(initial=0.0)):
            raise ReferenceError(
                f"{label}: stage `{step.name}` differs by {error:.3g} between two runs in f64; a reference draws no "
                "random numbers and keeps no state between calls"
            )

    _run(module, torch.float64, example, keep, label)
    if not stages:
        raise ReferenceError(f"{label}: computes no float tensor from its inputs; there is nothing to compare")
    with torch.random.fork_rng(devices=[]):
        torch.rand(1)  # other random numbers than in the first run
        _run(module, torch.float64, example, check, label)
    return stages


def _replay(
    module: nn.Module,
    example: Example,
    stages: Mapping[str, Stage],
    golden: Mapping[str, np.ndarray],
    taught: Collection[str],
    label: str,
) -> _Replay:
    """Runs the network in f32, fed the golden outputs of the stages in `taught`.

    Where stages are degenerate, PyTorch's own error is often exactly 0. Their floor is the larger of two runs:
    PyTorch's, and one whose norms are made of elementary operations. Recurrent stages that are fed are drawn again.
    """
    replay = _Replay({}, np.empty(0))

    def found(step: Step, value: Tensor) -> Floors:
        expected, stage = _stage_value(golden, step, label, "f32"), stages[step.name]
        if not value.isfinite().all():
            raise ReferenceError(
                f"{label}: stage `{step.name}` has values that are not finite in f32, and is finite in f64; "
                "give other inputs"
            )
        # Others compute a sigmoid as (1 + tanh(x / 2)) / 2, or 1/2 plus a quotient: they round numbers near 1.
        least = LEAST_FLOOR if step.kind.strip("_").lower() == "sigmoid" else 0.0
        return floors(value.double().numpy() - expected, expected, stage.axes.channel, stage.axes.frame, least)

    def fed(step: Step, draw: int | None = None) -> Tensor | None:
        if step.name not in taught:
            return None
        values = golden[step.name].astype(np.float32)
        return torch.from_numpy(values if draw is None else moved(values, draw))

    # Only what they read is moved: other values may be flags, or lengths.
    read_by_recurrent: set[str] = set()

    def see(step: Step) -> Tensor | None:
        if isinstance(step.module, nn.RNNBase):
            read_by_recurrent.update(step.inputs)
        replay.floors[step.name] = found(step, step.value)
        replay.last = step.value.numpy()
        return fed(step)

    def see_elementary(step: Step) -> Tensor | None:
        stage = stages[step.name]
        own_norm = stage.degenerate and is_norm(step)
        value = reference_norm(step) if own_norm else step.value
        if stage.degenerate:
            replay.floors[step.name] = larger(replay.floors[step.name], found(step, value))
        return fed(step) if step.name in taught else value if own_norm else None

    def see_again(step: Step, draw: int) -> Tensor | None:
        if isinstance(step.module, nn.RNNBase):
            replay.floors[step.name] = larger(replay.floors[step.name], found(step, step.value))
        return fed(step, draw if step.name in read_by_recurrent else None)

    _run(module, torch.float32, example, see, label)
    missing = [name for name in stages if name not in replay.floors]
    if missing:
        raise ReferenceError(f"{label}: stage `{missing[0]}` is computed in f64 and not in f32; there are no floors")
    if any(stage.degenerate for stage in stages.values()):
        _run(module, torch.float32, example, see_elementary, label)
    for draw in range(REDRAWS if taught and read_by_recurrent else 0):

        def again(name: str, value: Tensor, draw: int = draw) -> Tensor:
            return torch.from_numpy(moved(as_array(value), draw)) if name in read_by_recurrent else value

        _run(module, torch.float32, _changed(example, again), partial(see_again, draw=draw), label)
    return replay


def _changed(example: Example, change: Callable[[str, Tensor], Tensor]) -> Example:
    """`example` with each array among its arguments changed, as a tensor."""

    def changed(name: str, value: Any) -> Any:
        return change(name, torch.as_tensor(value)) if isinstance(value, (Tensor, np.ndarray)) else value

    named = zip(example.names(), [*example.args, *example.kwargs.values()], strict=True)
    values = [changed(name, value) for name, value in named]
    positional = len(example.args)
    return Example(tuple(values[:positional]), dict(zip(example.kwargs, values[positional:], strict=True)))


def _stage_value(golden: Mapping[str, np.ndarray], step: Step, label: str, run: str) -> np.ndarray:
    """The golden output of a stage of another run."""
    if step.name not in golden:
        raise ReferenceError(
            f"{label}: stage `{step.name}` is computed in {run} and has no golden output; "
            "does the network choose its steps by dtype, or is the trace of another one?"
        )
    expected = golden[step.name]
    if expected.shape != tuple(step.value.shape):
        raise ReferenceError(
            f"{label}: stage `{step.name}` has shape {list(step.value.shape)} in {run}, "
            f"expected {list(expected.shape)}"
        )
    return expected


def _run(module: nn.Module, dtype: torch.dtype, example: Example, see: Any, label: str) -> None:
    """Runs a fresh copy of the network on the CPU, in evaluation, in `dtype`."""
    precision = "f64" if dtype == torch.float64 else "f32"
    try:
        own = copy.deepcopy(module).cpu().to(dtype).eval()
    except Exception as error:  # modules raise whatever they like
        raise ReferenceError(
            f"{label}: no copy in {precision} can be made: {error}; give a module that copy.deepcopy copies"
        ) from error
    try:
        Runner(own, dtype).run(example, see)
    except ModuleError as error:
        raise ReferenceError(
            f"{label}, in {precision} on the CPU: {error}; "
            "give a module that takes its dtype and device from its inputs"
        ) from error


def _notes(module: nn.Module, named: list[tuple[str, np.ndarray]]) -> list[str]:
    notes = [f"input `{name}` was f64; it is rounded to f32" for name, value in named if value.dtype == np.float64]
    if Runner(module).output_only:
        notes.append("compiled code shows no stages: only the output was captured, and nothing can be forced")
    return notes


def _manifest(module: nn.Module, label: str, stages: Mapping[str, Stage], notes: list[str]) -> dict[str, Any]:
    return {
        "schema": 1,
        "engine": "torch",
        "device": "cpu",
        "dtype": {"golden": "f64", "reference": "f32"},
        "model": {"name": label, "sha256": _sha256(module), "source": None},
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__},
        "cpu": _cpu(),
        "threads": torch.get_num_threads(),
        "stages": [stage.entry() for stage in stages.values()],
        "notes": notes,
    }


def _sha256(module: nn.Module) -> str:
    """Of the values of parameters and buffers, in order."""
    digest = hashlib.sha256()
    for tensor in [*module.parameters(), *module.buffers()]:
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _cpu() -> str:
    """The name of the processor, and the kernels that PyTorch chooses on it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, torch kernels {torch.backends.cpu.get_cpu_capability()}"

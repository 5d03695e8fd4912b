"""Comparing a candidate with a reference."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _native
from ._alignment import Match, align, names_toml
from ._candidates import Candidate, TraceCandidate, candidate_of
from ._errors import Error, InputError
from ._forcing import Search, Teacher, folded
from ._inputs import Example
from ._paths import checks
from ._progress import reporter
from ._references import Reference, reference_of
from ._report import Report
from ._scratch import Scratch, ended_by_signals
from ._trace_file import Trace, TraceWriter

if TYPE_CHECKING:
    from ._causes import Cause

# The names that reports have for dtypes of 16 bits.
_SHORT = {"float16": "f16", "bfloat16": "bf16"}
# Fewest stages with weights that are told from others.
_FEWEST = 3
# Prefix of a stage that was fed by the reference.
_FORCED = "forced/"


def compare(
    reference: Any,
    candidate: Any,
    inputs: Any = None,
    *,
    name: str | None = None,
    names: str | os.PathLike[str] | Mapping[str, str] | None = None,
    names_out: str | os.PathLike[str] | None = None,
    gate: str | os.PathLike[str] | None = None,
    u2_as_bf16: bool = False,
    progress: bool | None = None,
) -> Report:
    """Compares a candidate with a reference, stage by stage: rounding or a bug, and where.

    Args:
        reference: A ``torch.nn.Module``, an ONNX file, a trace that `capture` wrote, or one of any other tool, whose own
            rounding is not known.
        candidate: A ``torch.nn.Module``, an ONNX or TFLite file, a function that returns named arrays, a trace, or what a
            device recorded with a parity kit (``.sak``). A trace is an ``.npz``, a safetensors file or a folder of ``.npy``.
        inputs: A tensor is one argument, a tuple positional arguments, a dict arguments by keyword, a list several examples.
            Default: the inputs that the trace holds.
        name: Of the network, in the report.
        names: Maps tensors of the candidate to stages, where the stages that are found are not the right ones: a mapping,
            or a file in TOML.
        names_out: Writes the stages that were found to this file.
        gate: A file of limits, TOML. Default: R < 4 at every stage.
        u2_as_bf16: Reads the integers of 16 bits (``<u2``) in the trace of the candidate as bf16, a type that numpy lacks.
        progress: Reports each step to stderr. Default: if it is a terminal.

    Raises:
        Error: if a side cannot be run, or a file cannot be read.
    """
    map_text = _map_text(names)
    with ended_by_signals(), reporter(progress) as say, Scratch() as scratch:
        there = reference_of(reference, inputs, name, scratch, say)
        ours = candidate_of(candidate, u2_as_bf16=u2_as_bf16)
        runs = [_Run.of(there, number, ours, scratch, map_text, say) for number in range(len(there.traces))]
        if names_out is not None:
            _write_text(names_out, names_toml(runs[0].matches))
        subject = {
            "model": there.model,
            "reference": there.name,
            "candidate": ours.name,
            "command": "",
            "engine": _engine(ours) | ({"dtype": _SHORT[runs[0].dtype]} if runs[0].dtype else {}),
            "notes": [*there.notes, *getattr(ours, "notes", [])],
            "checks": _checks(there, ours, runs[0]),
            "runs": [run.entry() for run in runs],
        }
        report = _native.compare(json.dumps(subject), _text(gate))
        return Report(_explained(report, there, runs))


def assert_same(reference: Any, candidate: Any, inputs: Any = None, **options: Any) -> Report:
    """As `compare`, and raises ``AssertionError`` with the report if it does not pass."""
    __tracebackhide__ = True  # of pytest
    report = compare(reference, candidate, inputs, **options)
    if not report.passed:
        raise AssertionError(f"the candidate is not the reference\n{report}")
    return report


@dataclass
class _Run:
    """One example: the traces of both sides."""

    reference: Path
    candidate: Trace
    matches: list[Match]
    floors: Path | None
    dtype: str | None
    """Of the candidate, as PyTorch names it, where it is below f32."""

    @staticmethod
    def of(
        there: Reference,
        number: int,
        ours: Candidate | TraceCandidate,
        scratch: Scratch,
        names: str | None,
        say: Callable[[str], None],
    ) -> _Run:
        reference, example = there.traces[number]
        if isinstance(ours, TraceCandidate):
            shown = ours.recorded(example)
        elif there.has_floors or example.names():
            say(f"{ours.name}: free-running")
            shown = Trace(_write(scratch / f"free-{number}.npz", ours.free(example)))
        else:
            raise InputError(f"inputs: are missing, and {reference} has none; give what the network is called with")
        aliases: Mapping[str, str] = getattr(ours, "aliases", {})
        try:
            matches = align(str(reference), str(shown.path), names, aliases=aliases, u2_as_bf16=shown.u2_as_bf16)
        except Error as error:
            # A map of names may be wrong. The file may be ours.
            raise InputError(str(error).replace(str(shown.path), ours.name)) from None
        hidden: set[str] = set()
        # What was fed is right behind every wrong stage.
        if names is None and not any(name.startswith(_FORCED) for name in shown):
            hidden = folded(matches, there.inputs, there.kinds, Trace(reference), shown)
        if isinstance(ours, TraceCandidate) or not there.has_floors:
            matches = [match for match in matches if match.stage not in hidden]
        else:
            matches, shown = _fed(there, number, ours, shown, matches, hidden, scratch, names, say)
        known = {match.stage for match in matches}.union(shown)
        only = [stage for stage in there.inputs if stage not in known and _FORCED + stage in shown]
        matches += [Match(stage, stage, None, None, None, []) for stage in only]
        dtype = _low_dtype(ours, shown, matches)
        floors = there.floors(
            number,
            [match.stage for match in matches],
            scratch,
            forced=any(name.startswith(_FORCED) for name in shown),
            dtype=dtype,
        )
        return _Run(reference, shown, matches, floors, dtype)

    def entry(self) -> dict[str, Any]:
        """The run as the native part reads it."""
        return {
            "reference": str(self.reference),
            "candidate": str(self.candidate.path),
            "u2_as_bf16": self.candidate.u2_as_bf16,
            "matches": [match.entry() for match in self.matches],
            "floors": self.floors and str(self.floors),
        }


def _fed(
    there: Reference,
    number: int,
    ours: Candidate,
    free: Trace,
    matches: list[Match],
    hidden: set[str],
    scratch: Scratch,
    names: str | None,
    say: Callable[[str], None],
) -> tuple[list[Match], Trace]:
    """Runs the candidate fed by the reference. Returns the stages that were found, and the trace of both runs; that of the
    free run where it cannot be fed. `hidden`: stages that it does not show."""
    reference, example = there.traces[number]
    recording = scratch / f"forced-{number}.npz"
    if hasattr(ours, "forced_stages"):
        # Its stages have the names of the reference's, and each is fed.
        stages = ours.forced_stages(there.stage_inputs(number))
        forced = None if stages is None else _write(recording, _as_shown(stages, matches, free))
    else:
        teacher = Teacher(Trace(reference), free)

        def force(fed: list[Match]) -> Path | None:
            say(f"{ours.name}: teacher-forced at {len(fed)} stages")
            tensors = ours.forced(example, teacher.values(fed))
            return None if tensors is None else _write(recording, tensors)

        aliases: Mapping[str, str] = getattr(ours, "aliases", {})
        found = Search(reference, there.inputs, names, aliases, hidden, force).run(matches)
        matches, forced = found.matches, found.trace
    if not forced:
        return matches, free
    both = scratch / f"candidate-{number}.npz"
    with TraceWriter(both) as trace:
        for prefix, run in (("", free), (_FORCED, Trace(forced))):
            for name, array in run.items():
                trace.add(prefix + name, array)
    return matches, Trace(both)


def _checks(there: Reference, ours: Candidate | TraceCandidate, run: _Run) -> list[dict[str, Any]]:
    """Whether users of the candidate get the output that was compared."""
    if isinstance(ours, TraceCandidate) or not there.has_floors:
        return []
    output = there.manifest["stages"][-1]["name"]
    match = next((match for match in run.matches if match.stage == output), None)
    free = run.candidate
    if match is None or match.name not in free:
        return []
    floor = float(Trace(run.reference)[f"floor.free/{output}"].sum())
    if run.floors is not None:
        # The candidate's own rounding, where it is coarser than f32.
        low = Trace(run.floors).get(f"floor.low.free/{output}")
        floor = floor if low is None else float(low.sum())
    return checks(ours, there.traces[0][1], match.name, free[match.name], floor)


def _low_dtype(ours: Candidate | TraceCandidate, free: Trace, matches: list[Match]) -> str | None:
    """The dtype of the candidate, as PyTorch names it, where it computes all stages in fewer bits than f32."""
    declared = str(ours.describe().get("dtype", ""))
    if declared in ("float16", "bfloat16"):
        return declared
    seen = [match.name for match in matches if match.name in free]
    types = free.types()
    return "float16" if seen and all(types.get(name) == "f16" for name in seen) else None


def _write(path: Path, tensors: Iterable[tuple[str, np.ndarray]]) -> Path:
    with TraceWriter(path) as trace:
        for name, array in tensors:
            trace.add(name, array)
    return path


def _as_shown(
    stages: Iterable[tuple[str, np.ndarray]], matches: list[Match], free: Trace
) -> Iterator[tuple[str, np.ndarray]]:
    """Stages as the tensors that they are in the free run of a candidate, in its layout. Those that it does not show are
    unchanged."""
    found = {match.stage: match for match in matches if match.name in free}
    # A tensor may be several stages, of equal values: it is written once.
    waiting = {match.name for match in found.values()}
    for stage, value in stages:
        name = found[stage].name if stage in found else stage
        if name in waiting:
            waiting.remove(name)
            own = found[stage].to_candidate(value, free[name].shape) if stage in found else None
            yield name, value if own is None else own
        elif stage not in found and stage not in free:
            yield stage, value


def _explained(report: _native.Report, there: Reference, runs: list[_Run]) -> _native.Report:
    """The report with the cause of the first wrong stage, where it is known."""
    data = json.loads(report.to_json())
    if not data["source"] or not there.can_run:
        return report
    name = data["source"][0]
    stage = next(stage for stage in data["stages"] if stage["name"] == name)
    error = stage["teacher_forced"] or stage["free_running"]
    number = error["worst_input"]
    run = runs[number]
    match = next((match for match in run.matches if match.stage == name), None)
    if match is None:
        return report
    ours, golden = run.candidate, Trace(run.reference)[name]
    value = ours[_FORCED + match.name] if stage["teacher_forced"] else ours[match.name]
    running = "forced" if stage["teacher_forced"] else "free"
    entry = f"floor.{running}/{name}"
    # Those of a run that was fed at the seen stages only.
    floors = Trace(run.floors or run.reference)
    if entry not in floors:
        floors = Trace(run.reference)
    hidden = set(there.inputs) - {match.stage for match in run.matches}
    ours_here = match.to_reference(value, golden.shape).astype(np.float64)
    cause = there.explain(number, name, ours_here, float(floors[entry].sum()), hidden)
    if cause is None or cause.is_description:
        cause = _other_weights(data["stages"], there.with_parameters) or cause
    if cause is None:
        return report
    found = {"stage": name, "id": cause.id, "text": cause.text, "r": cause.r}
    found["estimate"] = cause.estimate and asdict(cause.estimate)
    return report.explained(json.dumps(found))


def _other_weights(stages: list[dict[str, Any]], with_parameters: set[str]) -> Cause | None:
    """The cause of an error of all stages with parameters, and of hardly any without."""
    fed = [stage for stage in stages if stage["teacher_forced"]]
    own = [stage for stage in fed if stage["name"] in with_parameters]
    others = [stage for stage in fed if stage["name"] not in with_parameters]
    right = [stage for stage in others if stage["verdict"] in ("exact", "over_precise")]
    if len(own) < _FEWEST or any(stage["verdict"] != "structural" for stage in own) or 5 * len(right) < 4 * len(others):
        return None
    from ._causes import Cause

    text = f"other weights: all {len(own)} stages with weights are wrong, {len(right)} of {len(others)} without are right"
    return Cause("other-weights", text, max((stage["teacher_forced"]["r"] for stage in right), default=0.0))


def _engine(ours: Candidate | TraceCandidate) -> dict[str, Any]:
    known = ("engine", "versions", "dtype", "device", "cpu", "threads")
    return {key: value for key, value in ours.describe().items() if key in known}


def _text(path: str | os.PathLike[str] | None) -> str | None:
    if path is None:
        return None
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"{path}: is a {type(path).__name__}; give the path of a TOML file")
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no text; give a TOML file") from error


def _write_text(path: str | os.PathLike[str], text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from error


def _map_text(names: str | os.PathLike[str] | Mapping[str, str] | None) -> str | None:
    if isinstance(names, Mapping):
        return "\n".join(f"{json.dumps(ours)} = {json.dumps(stage)}" for ours, stage in names.items())
    return _text(names)

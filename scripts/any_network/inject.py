"""Injects faults, and looks at what a comparison says of them, and what metrics of the output alone would."""

from __future__ import annotations

import functools
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundalike
from faults import Fault
from networks import Network, network, output_of
from soundalike._onnx_reference import capture_onnx
from soundalike._trace_file import Trace

# A diagnosis that only describes the error: what is wrong at each index of an axis, or at one.
DESCRIPTIONS = {
    "another-order", "clipped", "gain", "gain-and-offset", "gain-of-each", "int8-grid", "offset", "offset-of-each",
    "one-element", "one-index", "zeros-at-an-index",
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What was found of a fault."""

    located: bool
    """Whether the wrong stages, or the groups that they are folded into, are found, and no other."""
    named: str
    """``named``, ``described`` by the form of the error, ``misnamed``, or ``not named``."""
    passed: bool
    """Whether the comparison passes: the fault is below the floor."""
    r: float
    """Of the first wrong stage, or the largest of all."""
    effect: float
    """Of the fault alone, in f64: the largest R of a wrong stage. Measured where it is not located."""
    source: str
    diagnosis: str
    correlation: float
    cosine: float
    same_decisions: float
    """Part of the outputs whose largest value is at the same index; of one value, on the same side of 0.5."""


def judge(fault: Fault, folder: Path) -> Outcome:
    """Exports the network with the fault, and compares it."""
    net = network(fault.network)
    path = fault.file(net, folder / "fault.onnx")
    report = soundalike.compare(net.module, path, net.inputs, progress=False)
    inputs = _inputs(fault.network)
    expected = {
        shown
        for stage in inputs
        if stage in fault.stages or (fault.exporter == "file" and stage.startswith(fault.stages))
        for hidden in (_hidden(report), _folded(fault.network, fault.exporter))
        for shown in _shown(stage, hidden, inputs)
    }
    sources = set(report.sources)
    cause = (report.diagnosis or {}).get("cause", "")
    located = bool(sources) and sources <= expected
    first = next((stage for stage in report.stages if stage["name"] in report.sources[:1]), None)
    ours, right = output_of(path, net), net.run()
    return Outcome(
        located=located,
        named=_named(cause, fault),
        passed=report.passed,
        r=max((_r(stage) for stage in ([first] if first else report.stages)), default=0.0),
        effect=_effect(net, fault) if not located else float("nan"),
        source=", ".join(report.sources),
        diagnosis=(report.diagnosis or {}).get("text", ""),
        correlation=float(np.corrcoef(ours.ravel(), right.ravel())[0, 1]) if ours.size > 1 else float("nan"),
        cosine=float((ours * right).sum() / np.sqrt((ours**2).sum() * (right**2).sum())),
        same_decisions=_same_decisions(ours, right),
    )


def _r(stage: dict[str, dict[str, float]]) -> float:
    error = stage["teacher_forced"] or stage["free_running"]
    return float(error["r"]) if error else 0.0


def _named(cause: str, fault: Fault) -> str:
    if not cause:
        return "not named"
    if cause in fault.causes:
        return "named"
    return "described" if cause in DESCRIPTIONS else "misnamed"


def _effect(net: Network, fault: Fault) -> float:
    """The largest R of a stage of the network with the fault in f64: what no rounding hides."""
    if fault.exporter == "file":
        return float("nan")
    wrong = fault.made(net.module).double()
    stages = soundalike.compare(net.module, wrong, net.inputs, progress=False).stages
    return max((_r(stage) for stage in stages if stage["name"] in fault.stages), default=0.0)


@functools.cache
def _inputs(name: str) -> dict[str, list[str]]:
    """What each stage of a network reads."""
    net = network(name)
    with tempfile.TemporaryDirectory() as folder:
        write = capture_onnx if isinstance(net.module, Path) else functools.partial(soundalike.capture, progress=False)
        trace = write(net.module, net.inputs, Path(folder) / "right.npz")
        manifest = json.loads(Trace(trace)["manifest"].tobytes())
    return {stage["name"]: stage["inputs"] for stage in manifest["stages"]}


@functools.cache
def _folded(name: str, exporter: str) -> frozenset[str]:
    """The stages that an exporter folds into others."""
    if exporter == "file":
        return frozenset()
    net = network(name)
    with tempfile.TemporaryDirectory() as folder:
        path = net.export(Path(folder) / "right.onnx", exporter)
        return _hidden(soundalike.compare(net.module, path, net.inputs, progress=False))


def _hidden(report: soundalike.Report) -> frozenset[str]:
    return frozenset(stage["name"] for stage in report.stages if stage["verdict"] == "not_observed")


def _shown(stage: str, hidden: frozenset[str], inputs: dict[str, list[str]]) -> set[str]:
    """The stages that show `stage`: itself where it is observed, else those that it is folded into."""
    if stage not in hidden:
        return {stage}
    return {shown for name, read in inputs.items() if stage in read for shown in _shown(name, hidden, inputs)}


def _same_decisions(ours: np.ndarray, right: np.ndarray) -> float:
    if ours.shape[-1] == 1:
        return float(((ours > 0.5) == (right > 0.5)).mean())
    return float((ours.argmax(-1) == right.argmax(-1)).mean())

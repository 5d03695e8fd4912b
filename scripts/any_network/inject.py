"""Injects faults, and looks at what a comparison says of them, and what metrics of the output alone would."""

from __future__ import annotations

import functools
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import soundalike
from faults import Fault
from networks import Network, network
from soundalike._onnx import OnnxCandidate
from soundalike._inputs import examples
from soundalike._trace_file import Trace

# A diagnosis that only describes the error: what is wrong at each index of an axis, or at one.
DESCRIPTIONS = {
    "clipped", "gain", "gain-and-offset", "gain-of-each", "int8-grid", "offset", "offset-of-each", "one-element", "one-index",
    "another-order", "zeros-at-an-index",
}  # fmt: skip
# The bar of cosine and correlation in use.
_ALIKE = 0.999


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
    wrong = fault.made(net.module)
    path = net.export(folder / "fault.onnx", fault.exporter, wrong)
    report = soundalike.compare(net.module, path, net.inputs, progress=False)
    groups = _groups(fault.network, fault.exporter)
    expected = {groups[stage] for stage in fault.stages}
    sources = {groups[stage] for stage in report.sources}
    cause = (report.diagnosis or {}).get("cause", "")
    located = bool(sources) and sources <= expected
    first = next((stage for stage in report.stages if stage["name"] in report.sources[:1]), None)
    ours, right = _outputs(net, path)
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
    wrong = fault.made(net.module).double()
    stages = soundalike.compare(net.module, wrong, net.inputs, progress=False).stages
    return max((_r(stage) for stage in stages if stage["name"] in fault.stages), default=0.0)


@functools.cache
def _groups(name: str, exporter: str) -> dict[str, str]:
    """The observed stage into which each stage is folded by an exporter: itself where it is observed."""
    net = network(name)
    with tempfile.TemporaryDirectory() as folder:
        path = net.export(Path(folder) / "right.onnx", exporter)
        trace = soundalike.capture(net.module, net.inputs, Path(folder) / "right.npz", progress=False)
        manifest = json.loads(Trace(trace)["manifest"].tobytes())
        report = soundalike.compare(net.module, path, net.inputs, progress=False)
    hidden = {stage["name"] for stage in report.stages if stage["verdict"] == "not_observed"}
    readers: dict[str, str] = {}
    for stage in manifest["stages"]:
        for read in stage["inputs"]:
            readers.setdefault(read, stage["name"])

    def group(stage: str) -> str:
        return group(readers[stage]) if stage in hidden and stage in readers else stage

    return {stage["name"]: group(stage["name"]) for stage in manifest["stages"]}


def _outputs(net: Network, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The first output of a file, run as users run it, and that of the network."""
    (_, ours), *_ = OnnxCandidate(path).output(examples(net.inputs)[0])
    return ours.astype(np.float64), net.run().double().numpy()


def _same_decisions(ours: np.ndarray, right: np.ndarray) -> float:
    if ours.shape[-1] == 1:
        return float(((ours > 0.5) == (right > 0.5)).mean())
    return float((ours.argmax(-1) == right.argmax(-1)).mean())

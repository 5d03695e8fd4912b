"""What is kept of comparisons: numbers and texts, no arrays."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import soundalike
from faults import Fault
from inject import Outcome
from pairs import Pair


@dataclass(frozen=True)
class Compared:
    """A pair."""

    network: str
    candidate: str
    reference: str
    finding: str
    as_expected: bool
    matched: dict[str, int]
    """Stages found by name, by value and by order."""
    not_observed: int
    stages: int
    free: float
    """Largest R, or R_d where the candidate is below f32."""
    forced: float
    seconds: float
    mebibytes: float
    markdown: str

    def __str__(self) -> str:
        return f"{self.network} | {self.candidate} | {self.seconds:.1f} s | {self.finding}"


@dataclass(frozen=True)
class Injected:
    """A fault."""

    network: str
    exporter: str
    stage: str
    text: str
    outcome: Outcome

    def __str__(self) -> str:
        found = self.outcome
        where = "located" if found.located else "passed" if found.passed else f"NOT LOCATED ({found.source})"
        return f"{self.network} | {self.stage} | {self.text} | {where} | {found.named} | {found.diagnosis}"


def compared(network: str, candidate: str, pair: Pair, peak: Callable[[], float]) -> Compared:
    """Compares a pair. `peak`: the peak memory of this process, in MiB."""
    start = time.monotonic()
    report = soundalike.compare(pair.reference, pair.candidate, pair.inputs, name=network, progress=False)
    seconds = time.monotonic() - start
    matched = Counter((stage.get("matched") or {}).get("by", "none") for stage in report.stages)
    return Compared(
        network=network,
        candidate=candidate,
        reference=report.data["reference"].rpartition("/")[2],
        finding=report.finding,
        as_expected=_as_expected(report, pair.expected),
        matched=dict(matched),
        not_observed=sum(stage["verdict"] == "not_observed" for stage in report.stages),
        stages=len(report.stages),
        free=_largest(report, "free_running"),
        forced=_largest(report, "teacher_forced"),
        seconds=seconds,
        mebibytes=peak(),
        markdown=report.to_markdown(3),
    )


def injected(fault: Fault, outcome: Outcome) -> Injected:
    """The result of a fault."""
    return Injected(fault.network, fault.exporter, ", ".join(fault.stages), fault.text, outcome)


def _as_expected(report: soundalike.Report, expected: str) -> bool:
    if expected == "passes":
        return report.passed
    if expected == "f16":
        return report.passed and report.data["provenance"]["candidate"]["dtype"] == "f16"
    return not report.passed and (report.diagnosis or {}).get("cause") == expected


def _largest(report: soundalike.Report, running: str) -> float:
    errors = [stage[running] for stage in report.stages if stage[running]]
    return max((error["r"] if error.get("r_d") is None else error["r_d"] for error in errors), default=float("nan"))

"""Types of a report as data: the JSON of ``soundalike compare``, schema 1. Keys may be added."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

Verdict = Literal[
    "exact",  # the rounding of f32
    "over_precise",  # far less than that: the candidate computes in more than f32
    "precision",  # more rounding than f32
    "structural",  # a bug
    "free_only",  # wrong behind another wrong stage, and the reference could not feed it
    "not_observed",
    "not_comparable",  # other shapes
    "inconclusive",  # there is no floor
]


class _StageError(TypedDict):
    r: float | None
    """The root mean square of the error, divided by that of PyTorch's own f32; None: infinite, as it is of NaN."""
    r_local: float | None
    """The largest `r` of a single channel or frame."""
    max_abs: float | None
    mean_abs: float | None
    rms_error: float | None
    rel_l2: float | None
    snr_db: float | None
    correlation: float | None
    reference_correlation: float | None
    rms_ratio: float | None
    """Root mean square of the candidate, divided by the reference's: a wrong gain."""
    mean_offset: float | None
    """Mean of the candidate minus the reference's: a wrong bias."""
    worst_frame: int | None
    worst_channel: int | None
    non_finite: int
    """How many values are not finite."""
    worst_input: int
    """The example with the largest `r`, from 0."""


class StageError(_StageError, total=False):
    """The error of a candidate at a stage, in the worst of all examples."""

    shape: list[int]
    """The shape of the candidate, where it is another than the reference's."""


class Matched(TypedDict):
    """A stage in a candidate with other names."""

    name: str
    """The tensor of the candidate."""
    by: Literal["name", "value", "order"]
    axes: list[int] | None
    error: float
    ambiguous: list[str]
    """Other tensors that fit as well."""


class _Stage(TypedDict):
    name: str
    shape: list[int]
    degenerate: bool
    """Whether a norm only amplifies rounding here."""
    teacher_forced: StageError | None
    """Fed the reference's input: the stage's own error."""
    free_running: StageError | None
    """Fed by the stages before it, as for a user."""
    verdict: Verdict


class Stage(_Stage, total=False):
    """A stage of the reference and its errors."""

    matched: Matched


class Diagnosis(TypedDict):
    """The cause of an error."""

    stage: str
    cause: str
    """The id of the mistake: ``gelu-tanh``."""
    text: str
    r: float | None
    """The error that is left if the reference makes the same mistake, in units of its own rounding."""
    engine: str | None
    estimate: dict[str, Any] | None
    runner_up: dict[str, Any] | None


class Failure(TypedDict):
    """A limit of the gate that is not met."""

    text: str
    because: str


class GateResult(TypedDict):
    """What the gate found."""

    passed: bool
    failures: list[Failure]


class _ReportData(TypedDict):
    schema: int
    model: str
    reference: str
    candidate: str
    provenance: dict[str, Any]
    inputs: list[dict[str, Any]]
    """The examples, each with its own results."""
    stages: list[Stage]
    """All stages of the reference, in order of execution."""
    coverage: dict[str, Any]
    """How many of the stages were compared, and how they were found."""
    missing: list[str]
    """Stages that the candidate does not show."""
    unexpected: list[str]
    """Tensors of the candidate that are no stages."""
    source: list[str]
    """The stages that make the error."""
    diagnosis: Diagnosis | None
    undiagnosed: dict[str, Any] | None
    """The shape of an error whose cause is not known."""
    output: dict[str, Any] | None
    """Agreement of the outputs, free-running."""
    production: list[dict[str, Any]]
    """Whether users of the candidate get the output that was compared."""
    gate: GateResult


class ReportData(_ReportData, total=False):
    """A report."""

    notes: list[str]
